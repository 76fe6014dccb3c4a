"""What the writer may do beyond INSERT, as functions of the owner with a fixed search path.

Each checks what it is told against the records themselves, so that whoever holds the writer's
role gains nothing by calling them but work for the server, and that is bounded.
"""

from collections.abc import Iterator
from typing import Final

from proxy.audit.index.blocks import BLOCK, RUNS
from proxy.audit.index.postgresql.ddl import DAY_MICROS, FIRST_DAY, LAST_DAY
from proxy.state.roles import SCHEMA

PAST_DAYS: Final = 400
AHEAD_DAYS: Final = 32
"""Days around the server's today that get partitions of a day; months farther away get one each.

A clock that is a year wrong costs a partition, not a failure, and whoever holds the writer's role
can make no more than one for each of these days and one for each month until LAST_DAY.
"""
_MOST_DAYS: Final = 1000

_OWNER: Final = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"


def functions() -> Iterator[str]:
    """The functions, in the order in which they need each other."""
    yield _PARTITIONS
    yield _MAKE_PARTITION
    yield _IS_PARTITION
    yield _ENSURE
    yield _NOTE_CALLS
    yield _COMPARE
    yield _POSITIONS
    yield _ADD_BLOCK


_PARTITIONS: Final = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.partitions()
RETURNS TABLE (relation regclass, low bigint, high bigint) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
  SELECT child.oid::regclass,
         CASE WHEN child.bound ~ 'FROM \\(MINVALUE\\)' THEN -9223372036854775808
              ELSE substring(child.bound FROM 'FROM \\(''?(-?\\d+)''?\\)')::bigint END,
         CASE WHEN child.bound ~ 'TO \\(MAXVALUE\\)' THEN 9223372036854775807
              ELSE substring(child.bound FROM 'TO \\(''?(-?\\d+)''?\\)')::bigint END
  FROM (SELECT c.oid, pg_get_expr(c.relpartbound, c.oid) AS bound
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = '{SCHEMA}.events'::regclass) AS child
$body$"""

# A table is made and then attached: `CREATE TABLE … PARTITION OF` would wait for every reader.
_MAKE_PARTITION: Final = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.make_partition(name text, low text, high text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  EXECUTE format('CREATE TABLE {SCHEMA}.%I (LIKE {SCHEMA}.events INCLUDING DEFAULTS'
    ' INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION)', name);
  -- Nothing is ever updated: pages may be full. Statistics are wanted soon, hints set early.
  EXECUTE format('ALTER TABLE {SCHEMA}.%I SET (fillfactor = 100,'
    ' autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.1)', name);
  EXECUTE format('ALTER TABLE {SCHEMA}.events ATTACH PARTITION {SCHEMA}.%I'
    ' FOR VALUES FROM (%s) TO (%s)', name, low, high);
  PERFORM {SCHEMA}.guard(format('{SCHEMA}.%I', name)::regclass);
END $body$"""

_IS_PARTITION: Final = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.is_partition(name text) RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
  SELECT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = '{SCHEMA}.events'::regclass
                 AND i.inhrelid = to_regclass(format('{SCHEMA}.%I', name)))
$body$"""

_ENSURE: Final = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.ensure_partitions(days bigint[])
RETURNS integer LANGUAGE plpgsql {_OWNER} AS $body$
DECLARE
  today CONSTANT bigint := floor(extract(epoch FROM now()) / 86400);
  micros CONSTANT bigint := {DAY_MICROS};
  day bigint;
  month date;
  of_day text;
  of_month text;
  begins bigint;
  ends bigint;
  made integer := 0;
BEGIN
  IF coalesce(cardinality(days), 0) > {_MOST_DAYS} THEN
    RAISE EXCEPTION 'too many days at once' USING ERRCODE = 'program_limit_exceeded';
  END IF;
  -- One at a time, by a lock that only the owner can take.
  LOCK TABLE {SCHEMA}.index_schema IN SHARE UPDATE EXCLUSIVE MODE;
  -- Each by itself: a retention removes the one of the past.
  IF NOT {SCHEMA}.is_partition('events_past') THEN
    PERFORM {SCHEMA}.make_partition('events_past', 'MINVALUE', ({FIRST_DAY} * micros)::text);
    made := made + 1;
  END IF;
  IF NOT {SCHEMA}.is_partition('events_future') THEN
    PERFORM {SCHEMA}.make_partition('events_future', ({LAST_DAY} * micros)::text, 'MAXVALUE');
    made := made + 1;
  END IF;
  FOR day IN SELECT DISTINCT d FROM unnest(days) AS d
             WHERE d >= {FIRST_DAY} AND d < {LAST_DAY} ORDER BY d LOOP
    month := date_trunc('month', date '1970-01-01' + day::integer);
    begins := month - date '1970-01-01';
    ends := (month + interval '1 month')::date - date '1970-01-01';
    of_day := to_char(date '1970-01-01' + day::integer, '"events_d"YYYYMMDD');
    of_month := to_char(month, '"events_m"YYYYMM');
    CONTINUE WHEN {SCHEMA}.is_partition(of_day) OR {SCHEMA}.is_partition(of_month);
    -- A month that has days already goes on with days: its partitions must not overlap.
    IF day BETWEEN today - {PAST_DAYS} AND today + {AHEAD_DAYS} OR EXISTS (
      SELECT FROM generate_series(begins, ends - 1) AS d WHERE {SCHEMA}.is_partition(
        to_char(date '1970-01-01' + d::integer, '"events_d"YYYYMMDD'))) THEN
      PERFORM {SCHEMA}.make_partition(of_day, (day * micros)::text, ((day + 1) * micros)::text);
    ELSE
      PERFORM {SCHEMA}.make_partition(of_month, (begins * micros)::text, (ends * micros)::text);
    END IF;
    made := made + 1;
  END LOOP;
  RETURN made;
END $body$"""

# Dynamic statements, so that each is planned for its own few partitions.
_NOTE_CALLS: Final = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.note_calls(of_writer text,
  opened text[], opened_seqs bigint[], opened_ats bigint[], closed text[], closed_ats bigint[])
RETURNS void LANGUAGE plpgsql {_OWNER}
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $body$
DECLARE
  low bigint;
  high bigint;
BEGIN
  -- A call is closed when its terminal event is there, and open when it has a later event than
  -- any we know of; else nothing happens.
  IF cardinality(closed) > 0 THEN
    SELECT min(a), max(a) INTO low, high FROM unnest(closed_ats) AS a;
    EXECUTE 'DELETE FROM {SCHEMA}.open_calls o USING unnest($1, $2) AS c (id, at)'
      ' WHERE o.audit_id = c.id AND EXISTS (SELECT FROM {SCHEMA}.events e'
      ' WHERE e.audit_id = c.id AND e.at = c.at AND e.terminal AND e.at BETWEEN $3 AND $4)'
      USING closed, closed_ats, low, high;
  END IF;
  IF cardinality(opened) > 0 THEN
    SELECT min(a), max(a) INTO low, high FROM unnest(opened_ats) AS a;
    EXECUTE 'INSERT INTO {SCHEMA}.open_calls AS o (audit_id, writer, seq, at)'
      ' SELECT n.id, $4, n.seq, n.at FROM unnest($1, $2, $3) AS n (id, seq, at)'
      ' JOIN {SCHEMA}.events e ON e.writer = $4 AND e.seq = n.seq AND e.at = n.at'
      ' AND e.audit_id = n.id AND NOT e.terminal AND e.at BETWEEN $5 AND $6'
      ' ON CONFLICT (audit_id) DO UPDATE SET seq = excluded.seq, at = excluded.at'
      ' WHERE o.writer = excluded.writer AND o.seq < excluded.seq'
      USING opened, opened_seqs, opened_ats, of_writer, low, high;
  END IF;
END $body$"""

# Without `at`: a different record under a sequence we know may carry any time.
_COMPARE: Final = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.compare(of_writer text, seqs bigint[], digests bytea[])
RETURNS TABLE (seq bigint, same boolean) LANGUAGE plpgsql STABLE {_OWNER}
SET enable_seqscan = off SET enable_mergejoin = off SET jit = off AS $body$
DECLARE
  low bigint;
  high bigint;
BEGIN
  SELECT min(s), max(s) INTO low, high FROM unnest(seqs) AS s;
  RETURN QUERY EXECUTE 'SELECT e.seq, sha256(e.line) = n.digest FROM {SCHEMA}.events e'
    ' JOIN unnest($1, $2) AS n (seq, digest) ON n.seq = e.seq'
    ' WHERE e.writer = $3 AND e.seq BETWEEN $4 AND $5'
    USING seqs, digests, of_writer, low, high;
END $body$"""

# From one writer to the next along the unique indexes: no rows are read, and the plan over all
# partitions is made once for a connection.
_POSITIONS: Final = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.positions()
RETURNS TABLE (writer text, seq bigint) LANGUAGE plpgsql STABLE {_OWNER}
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $body$
DECLARE
  here text COLLATE "C" := '';
  known text[] := '{{}}';
BEGIN
  LOOP
    SELECT e.writer INTO here FROM {SCHEMA}.events e
      WHERE e.writer > here ORDER BY e.writer LIMIT 1;
    EXIT WHEN here IS NULL;
    writer := here;
    known := known || here;
    SELECT max(e.seq) INTO seq FROM {SCHEMA}.events e WHERE e.writer = here;
    -- What a retention removed was known, and is not shipped again.
    seq := greatest(seq, (SELECT max(r.last_seq) FROM {SCHEMA}.removed r WHERE r.writer = here));
    RETURN NEXT;
  END LOOP;
  RETURN QUERY SELECT r.writer, max(r.last_seq) FROM {SCHEMA}.removed r
    WHERE r.writer <> ALL (known) GROUP BY r.writer;
END $body$"""

# A search believes blocks, so one that does not fit would hide records. A block comes whole, once,
# in order, and not before the last of its records: `serve` adds it in the transaction that adds
# that one, which leaves nobody else a moment to. What stands in it is compared by `db rebuild`.
_ADD_BLOCK: Final = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.add_block(of_writer text, begins bigint,
  oldest bigint, newest bigint, times bytea, fields smallint[], named bytea[], places bytea[],
  runs integer[], packed bytea[])
RETURNS boolean LANGUAGE plpgsql {_OWNER} SET enable_seqscan = off SET jit = off AS $body$
DECLARE
  latest bigint;
  block bigint;
  complete boolean;
BEGIN
  SELECT max(b.first) INTO latest FROM {SCHEMA}.blocks b WHERE b.writer = of_writer;
  IF EXISTS (SELECT FROM {SCHEMA}.blocks b WHERE b.writer = of_writer AND b.first = begins) THEN
    RETURN false;
  END IF;
  EXECUTE 'SELECT EXISTS (SELECT FROM {SCHEMA}.events e WHERE e.writer = $1 AND e.seq >= $2)'
    INTO complete USING of_writer, begins + {BLOCK} - 1;
  IF begins < -{BLOCK} OR begins % {BLOCK} <> 0 OR (begins < 0) <> (latest IS NULL)
     OR begins <= latest OR NOT complete THEN
    RAISE EXCEPTION 'a block of % does not begin at %', of_writer, begins
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO {SCHEMA}.blocks (number, writer, first, oldest, newest, runs)
    VALUES (nextval('{SCHEMA}.block_numbers'), of_writer, begins, oldest, newest, times)
    ON CONFLICT DO NOTHING RETURNING number INTO block;
  IF block IS NULL THEN
    RETURN false;
  END IF;
  INSERT INTO {SCHEMA}.postings (block, field, value, bits)
    SELECT block, p.field, p.value, p.bits FROM unnest(fields, named, places)
      AS p (field, value, bits);
  INSERT INTO {SCHEMA}.run_texts (run, texts)
    SELECT block * {RUNS} + t.run, t.texts FROM unnest(runs, packed) AS t (run, texts);
  RETURN true;
END $body$"""
