"""Old records leave the index: whole partitions, by the owner, under rules the database enforces.

`serve` cannot call any of this. The procedure looks for itself at age, approvals and legal holds,
and leaves behind what was there (`kubewitness.removed`), so that a gap explains itself.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, NamedTuple

from proxy.audit.index.blocks import RUNS
from proxy.audit.index.postgresql.ddl import DAY_MICROS
from proxy.errors import ConflictError
from proxy.state.retention import APPROVERS, MIN_DAYS
from proxy.state.roles import SCHEMA

_BEGINNING: Final = -(1 << 63)
"""Where the partition of everything before the first day begins."""
_ATTEMPTS: Final = 120
"""To get the whole table for a moment, while searches that take up to a minute have it."""
_LOCK_MS: Final = 300
_PASSING: Final = 1.0
"""Seconds in which others pass between two attempts."""
_FETCH: Final = 2000
"""Records of a partition that are looked at together."""


class Partition(NamedTuple):
    """A partition of the records."""

    name: str
    """Without its schema."""
    low: int
    """µs since the epoch; records from here …"""
    high: int
    """… to before here."""


class ChangedError(ConflictError):
    """A partition has records that were not checked."""

    def __init__(self, partition: Partition, found: int, checked: int) -> None:
        super().__init__(
            f"{partition.name} has {found} records now, and {checked} were checked.",
            hint="Something older was added to the index meanwhile; run it again.",
        )


def statements() -> Iterator[str]:
    """The table of what left, and the one procedure that removes; for `db upgrade`."""
    yield (
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.removed (partition text NOT NULL, low bigint NOT NULL,"
        ' high bigint NOT NULL, writer text COLLATE "C" NOT NULL, first_seq bigint NOT NULL,'
        " last_seq bigint NOT NULL, records bigint NOT NULL, retention text NOT NULL,"
        " removed_by text NOT NULL DEFAULT session_user,"
        " removed_at timestamptz NOT NULL DEFAULT now())"
    )
    yield f"SELECT {SCHEMA}.guard('{SCHEMA}.removed')"
    yield _REMOVE


_REMOVE: Final = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.remove_partition(of_partition text, by_retention text)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
<<removing>>
DECLARE
  relation regclass;
  low bigint;
  high bigint;
  before bigint;
  found text;
  counted bigint;
BEGIN
  SELECT p.relation, p.low, p.high INTO relation, low, high FROM {SCHEMA}.partitions() p
    WHERE p.relation = format('{SCHEMA}.%I', of_partition)::regclass;
  IF relation IS NULL THEN
    RAISE EXCEPTION '% is no partition of the records', of_partition;
  END IF;
  SELECT r.before INTO before FROM {SCHEMA}.retentions r WHERE r.id = by_retention;
  IF before IS NULL THEN
    RAISE EXCEPTION 'there is no retention %', by_retention;
  END IF;
  IF high > before
     OR high > (floor(extract(epoch FROM now()) / 86400) - {MIN_DAYS}) * {DAY_MICROS} THEN
    RAISE EXCEPTION '% holds records that are too young', of_partition;
  END IF;
  IF (SELECT count(DISTINCT a.approved_by) FROM {SCHEMA}.retention_approvals a
      WHERE a.retention = by_retention) < {APPROVERS} THEN
    RAISE EXCEPTION 'retention % is not approved', by_retention;
  END IF;
  SELECT h.id INTO found FROM {SCHEMA}.legal_holds h
    WHERE NOT EXISTS (SELECT FROM {SCHEMA}.legal_hold_releases x WHERE x.hold = h.id)
      AND (h.since IS NULL OR h.since < high) AND (h.until IS NULL OR h.until > low) LIMIT 1;
  IF found IS NOT NULL THEN
    RAISE EXCEPTION '% is kept by legal hold %', of_partition, found;
  END IF;
  -- From here on nobody adds to it, and what is counted is what goes. Only this partition is locked
  -- while it is read, which may take minutes: records of today are added all the while. LOCK TABLE
  -- takes rights that the owner gave up; this takes the same lock, and changes nothing.
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER kubewitness_guard', relation);
  EXECUTE format('INSERT INTO {SCHEMA}.removed'
    ' (partition, low, high, writer, first_seq, last_seq, records, retention)'
    ' SELECT %L, %s, %s, writer, min(seq), max(seq), count(*), %L FROM %s GROUP BY writer',
    of_partition, low, high, by_retention, relation);
  SELECT coalesce(sum(r.records), 0) INTO counted FROM {SCHEMA}.removed r
    WHERE r.partition = of_partition AND r.retention = by_retention;
  EXECUTE format('DELETE FROM {SCHEMA}.open_calls o USING %s e WHERE e.audit_id = o.audit_id'
    ' AND e.writer = o.writer AND e.seq = o.seq', relation);
  -- What says where values stood goes when none of the records it is about is left.
  CREATE TEMPORARY TABLE gone ON COMMIT DROP AS
    SELECT b.number FROM {SCHEMA}.blocks b WHERE b.oldest < high AND b.newest >= low
      AND NOT EXISTS (SELECT FROM {SCHEMA}.partitions() p
                      WHERE p.relation <> removing.relation
                        AND p.low <= b.newest AND p.high > b.oldest);
  DELETE FROM {SCHEMA}.postings p USING pg_temp.gone WHERE p.block = gone.number;
  DELETE FROM {SCHEMA}.run_texts r USING pg_temp.gone
    WHERE r.run >= gone.number * {RUNS} AND r.run < (gone.number + 1) * {RUNS};
  DROP TABLE pg_temp.gone;
  -- This needs the whole table for a moment. Whoever comes after us waits as long as we do, so we
  -- wait for less than a call waits for its record, let them pass, and try again.
  FOR attempt IN 1..{_ATTEMPTS} LOOP
    BEGIN
      PERFORM set_config('lock_timeout', '{_LOCK_MS}ms', true);
      EXECUTE format('ALTER TABLE {SCHEMA}.events DETACH PARTITION %s', relation);
      EXIT;
    EXCEPTION WHEN lock_not_available THEN
      IF attempt = {_ATTEMPTS} THEN
        RAISE;
      END IF;
      PERFORM pg_sleep({_PASSING});
    END;
  END LOOP;
  EXECUTE format('DROP TABLE %s', relation);
  RETURN counted;
END $body$"""


async def partitions_before(connection: Any, before: int) -> list[Partition]:  # noqa: ANN401  # asyncpg is untyped
    """Partitions that end at `before` (µs since the epoch) or earlier, oldest first.

    The one of everything before the first day is always there; it counts when it has records.
    """
    rows = await connection.fetch(
        f"SELECT c.relname, p.low, p.high FROM {SCHEMA}.partitions() p"
        " JOIN pg_class c ON c.oid = p.relation WHERE p.high <= $1 AND (p.low > $2"
        f" OR EXISTS (SELECT FROM {SCHEMA}.events e WHERE e.at < p.high)) ORDER BY p.low",
        before,
        _BEGINNING,
    )
    return [Partition(*row) for row in rows]


async def records(connection: Any, partition: Partition) -> AsyncIterator[tuple[str, int, bytes]]:  # noqa: ANN401
    """(writer, sequence, line) of each record of a partition, by writer and sequence."""
    query = f'SELECT writer, seq, line FROM {SCHEMA}."{partition.name}" ORDER BY writer, seq'
    async with connection.transaction(readonly=True):
        async for writer, seq, line in connection.cursor(query, prefetch=_FETCH):
            yield writer, seq, line


async def remove(connection: Any, partition: Partition, retention: str, checked: int) -> None:  # noqa: ANN401
    """Remove one partition of `checked` records in a transaction of its own.

    Raises ChangedError when it has other records than those that were checked, and what asyncpg
    does: the procedure says which rule stands against it. Then nothing of it was removed.
    """
    async with connection.transaction():
        # Counting a day may take as long as it takes.
        await connection.execute("SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = 0")
        count: int = await connection.fetchval(
            f"SELECT {SCHEMA}.remove_partition($1, $2)", partition.name, retention
        )
        if count != checked:  # a rebuild, or a replica that was away, has added some
            raise ChangedError(partition, count, checked)
