"""The schema of the index in PostgreSQL, as statements that may be run again and again.

Columns are those of `proxy.audit.index.schema`; what is here is what only PostgreSQL has: daily
partitions, their indexes, and guards against any change of a record. No foreign key points to or
from a record, no rule rewrites a statement about one.
"""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from proxy.audit.index.schema import blocks, events, open_calls, postings, run_texts
from proxy.state.roles import SCHEMA, VIEWS, Role

SCHEMA_VERSION: Final = 3
"""Grows with each change below that an older `serve` would not understand."""
FIRST_DAY: Final = 18_262
"""2020-01-01, in days since the epoch; what is earlier shares one partition."""
LAST_DAY: Final = 47_482
"""2100-01-01; what is later shares one partition, too."""
DAY_MICROS: Final = 86_400_000_000
_ADD_BLOCK: Final = "add_block(text, bigint, bigint, bigint, bytea, smallint[], bytea[], bytea[], integer[], bytea[])"
_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]

COPIES: Final = (events, open_calls, blocks, postings, run_texts)
"""What readers see. Searching goes by blocks (`proxy.audit.index.searching`), not by indexes."""


def tables() -> Iterator[str]:
    """The tables, without a partition."""
    columns = ", ".join(_column(column) for column in events.columns)
    yield (
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.events ({columns},"
        " recorded_at timestamptz NOT NULL DEFAULT now()) PARTITION BY RANGE (at)"
    )
    # Of schema 2, without rewriting a record: the default is the answer for what is there. Only
    # where it is missing: even a statement that finds it there would wait for each search.
    yield f"""
DO $body$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = '{SCHEMA}.events'::regclass
                 AND attname = 'suspicious' AND atthasdef) THEN
    ALTER TABLE {SCHEMA}.events ADD COLUMN IF NOT EXISTS {_column(events.c.suspicious)} DEFAULT '';
    ALTER TABLE {SCHEMA}.events ALTER COLUMN suspicious SET DEFAULT '';
  END IF;
END $body$"""
    columns = ", ".join(_column(column) for column in open_calls.columns)
    yield f"CREATE TABLE IF NOT EXISTS {SCHEMA}.open_calls ({columns}, PRIMARY KEY (audit_id))"
    for table, key in (
        (blocks, ", PRIMARY KEY (number), UNIQUE (writer, first)"),
        (postings, ""),
        (run_texts, ", PRIMARY KEY (run)"),
    ):
        columns = ", ".join(_column(column) for column in table.columns)
        # Rows of up to a page stay in it: what a search reads of a block lies together.
        yield (
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{table.name} ({columns}{key})"
            " WITH (toast_tuple_target = 8160)"
        )
    for table, packed in ((postings, "bits"), (run_texts, "texts")):
        yield f"ALTER TABLE {SCHEMA}.{table.name} ALTER COLUMN {packed} SET STORAGE EXTERNAL"
    yield f"CREATE SEQUENCE IF NOT EXISTS {SCHEMA}.block_numbers"
    yield (
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.index_schema"
        " (id integer PRIMARY KEY CHECK (id = 1), version integer NOT NULL)"
    )


def _column(column: object) -> str:
    kind = column.type.compile(_DIALECT)  # type: ignore[attr-defined]
    # Prefixes are asked for as ranges of code points.
    order = ' COLLATE "C"' if isinstance(column.type, Text) else ""  # type: ignore[attr-defined]
    null = "" if column.nullable else " NOT NULL"  # type: ignore[attr-defined]
    return f"{column.name} {kind}{order}{null}"  # type: ignore[attr-defined]


def indexes() -> Iterator[str]:
    """Indexes of every partition. A unique key of a partitioned table must hold its key, `at`."""
    yield (
        f"CREATE UNIQUE INDEX IF NOT EXISTS events_identity ON {SCHEMA}.events (writer, seq, at)"
    )
    yield (
        f"CREATE INDEX IF NOT EXISTS events_ranges ON {SCHEMA}.events USING brin (at, seq)"
        " WITH (pages_per_range = 32, autosummarize = on)"
    )
    yield f"CREATE INDEX IF NOT EXISTS events_call ON {SCHEMA}.events (audit_id)"
    yield (f"CREATE INDEX IF NOT EXISTS postings_value ON {SCHEMA}.postings (block, field, value)")


def guards() -> Iterator[str]:
    """Triggers that refuse every change; those of a partition are made with it."""
    yield f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.refuse() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  RAISE EXCEPTION 'records are only ever added: % of %.% is refused',
    TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $body$"""
    yield f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.guard(guarded regclass) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  EXECUTE format('GRANT TRIGGER ON %s TO {Role.OWNER}', guarded);
  EXECUTE format('CREATE OR REPLACE TRIGGER kubewitness_guard'
    ' BEFORE UPDATE OR DELETE OR TRUNCATE ON %s'
    ' FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse()', guarded);
  -- ALWAYS: also when session_replication_role says that triggers should not fire.
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER kubewitness_guard', guarded);
  -- Not even the owner keeps the rights; it can grant them to itself again, but not by accident.
  EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON %s FROM {Role.OWNER}',
    guarded);
END $body$"""
    # Cloned to every partition; catches what reaches a row without a statement about its table.
    yield f"""
DO $body$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_trigger
                 WHERE tgrelid = '{SCHEMA}.events'::regclass AND tgname = 'kubewitness_row') THEN
    CREATE TRIGGER kubewitness_row BEFORE UPDATE OR DELETE ON {SCHEMA}.events
      FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.refuse();
  END IF;
END $body$"""
    yield f"ALTER TABLE {SCHEMA}.events ENABLE ALWAYS TRIGGER kubewitness_row"
    yield f"SELECT {SCHEMA}.guard('{SCHEMA}.events')"


def views() -> Iterator[str]:
    """What readers see: views without a condition.

    They are no security barriers: a barrier with nothing to hide hides nothing, and it keeps
    `ORDER BY … LIMIT` from the indexes, which turns a page into a scan of all records. Which
    rows a reader sees will be row-level security of the tables below, forced on their owner.
    """
    # That of schema 2 lacks a column, and one in the middle cannot be put in.
    yield f"""
DO $body$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('{VIEWS}.events')
                 AND attname = 'suspicious') THEN
    DROP VIEW IF EXISTS {VIEWS}.events;
  END IF;
END $body$"""
    for table in COPIES:
        more = ", recorded_at" if table is events else ""
        names = ", ".join(column.name for column in table.columns)
        yield (
            f"CREATE OR REPLACE VIEW {VIEWS}.{table.name} AS"
            f" SELECT {names}{more} FROM {SCHEMA}.{table.name}"
        )

    yield f"CREATE OR REPLACE VIEW {VIEWS}.removed AS SELECT * FROM {SCHEMA}.removed"


def rights() -> Iterator[str]:
    """Who may do what; everything else is denied. Nothing is granted to PUBLIC."""
    columns = ", ".join(column.name for column in events.columns)  # not recorded_at
    others = f"PUBLIC, {Role.WRITER}, {Role.READER}, {Role.STATE}"
    yield f"REVOKE ALL ON SCHEMA {SCHEMA}, {VIEWS} FROM PUBLIC, {Role.WRITER}, {Role.READER}"
    tables = ", ".join(f"{SCHEMA}.{table.name}" for table in COPIES)
    yield f"REVOKE ALL ON {tables}, {SCHEMA}.index_schema FROM {others}"
    yield f"REVOKE ALL ON SEQUENCE {SCHEMA}.block_numbers FROM {others}"
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA {VIEWS} FROM {others}"
    yield f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {SCHEMA} FROM {others}"
    yield (
        "REVOKE UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
        f" ON {', '.join(f'{VIEWS}.{table.name}' for table in COPIES)} FROM {Role.OWNER}"
    )
    yield f"GRANT USAGE ON SCHEMA {SCHEMA} TO {Role.WRITER}"
    yield f"GRANT INSERT ({columns}) ON {SCHEMA}.events TO {Role.WRITER}"
    yield f"GRANT SELECT ON {SCHEMA}.index_schema TO {Role.WRITER}"
    for function in (
        "ensure_partitions(bigint[])",
        "note_calls(text, text[], bigint[], bigint[], text[], bigint[])",
        "positions()",
        "compare(text, bigint[], bytea[])",
        _ADD_BLOCK,
    ):
        yield f"GRANT EXECUTE ON FUNCTION {SCHEMA}.{function} TO {Role.WRITER}"
    yield f"GRANT USAGE ON SCHEMA {VIEWS} TO {Role.READER}"
    yield f"GRANT SELECT ON ALL TABLES IN SCHEMA {VIEWS} TO {Role.READER}"
