"""The index in PostgreSQL: shared by replicas, filled by COPY, only ever added to.

One transaction a step, with the durability it needs set in it, whatever the login was set up
with. COPY knows no ON CONFLICT; so whenever it is not certain that the rows are new (the first of
a writer on a connection, the next after any failure, an answer that was lost at COMMIT) the
database is asked first what it has, line by line.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

import asyncpg
import structlog

from proxy.audit.index.blocks import Block
from proxy.audit.index.filling import Filling
from proxy.audit.index.open_changes import open_changes
from proxy.audit.index.postgresql import attestation
from proxy.audit.index.postgresql.connecting import Session, engine
from proxy.audit.index.postgresql.ddl import DAY_MICROS, SCHEMA_VERSION
from proxy.audit.index.postgresql.hearing import CHANNEL, hear
from proxy.audit.index.postgresql.identity import KnownServer
from proxy.audit.index.reading import Reader
from proxy.audit.index.rows import Row
from proxy.audit.index.store import ForeignRecordsError, Position
from proxy.errors import UnavailableError
from proxy.state.postgres import WHICH_SERVER
from proxy.state.roles import SCHEMA, VIEWS, Role

_log = structlog.get_logger(__name__)

_READERS: Final = 4
_ATTEMPTS: Final = 3
"""Of one step, when others insert the same rows at the same moment, or a partition went."""
_COLUMNS: Final = Row._fields
_BEGIN: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
    " SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '30s';"
    " SET LOCAL idle_in_transaction_session_timeout = '60s';"
    " SET LOCAL synchronous_commit = {durability}"
)
_AHEAD: Final = (
    f"SELECT {SCHEMA}.ensure_partitions(ARRAY(SELECT generate_series(today, today + 7)"
    " FROM (SELECT floor(extract(epoch FROM now()) / 86400)::bigint) AS t (today)))"
)
"""The days of the coming week get their partitions before they are needed."""
# The message puts something into the log even if no row is added: only then does COMMIT wait until
# all that was committed before is on disk and on the standbys, which a lost answer leaves open. A
# timeout of the statement would end that wait with success.
_END: Final = (
    f"SELECT pg_notify('{CHANNEL}', $1), pg_logical_emit_message(true, 'kubewitness', ''),"
    " set_config('statement_timeout', '0', true)"
)


class PostgresIndex(Reader):
    """Implements `proxy.audit.index.store.SharedIndex`; made by `open`."""

    def __init__(self, url: str, known: KnownServer | None = None) -> None:
        super().__init__(engine(url, Role.READER, size=_READERS, read_only=True))
        self._url = url
        self._session = Session(url, Role.WRITER)
        self._days: set[int] = set()
        """Days that have a partition, as far as we know."""
        self._certain: dict[str, int] = {}
        """By writer, the last sequence that this connection committed."""
        self._generation = 0
        self._server: str | None = None
        """Which one our last connection was to."""
        self._durability = "on"
        self._known = known or KnownServer()
        self._filling = Filling(self._all, self.after)

    @classmethod
    async def open(cls, url: str, known: KnownServer | None = None) -> "PostgresIndex":
        """The index at `url`, on the `known` server. Nothing is connected before it is needed."""
        return cls(url, known)

    async def close(self) -> None:
        """See Index."""
        await self._session.close()
        await self._engine.dispose()

    async def positions(self) -> dict[str, Position]:
        """See Index. Taken from the records themselves; the segment is left open."""
        async with self._session.use() as connection:
            found = await connection.fetch(f"SELECT writer, seq FROM {SCHEMA}.positions()")
        return {writer: Position("", 0, seq) for writer, seq in found}

    async def rewind(self, writer: str, seq: int) -> None:
        """See SharedIndex: nothing is forgotten; what is told anew is compared."""
        self._certain.pop(writer, None)

    async def removed(self) -> dict[str, list[tuple[int, int]]]:
        """By writer, the spans of time (µs since the epoch) that a retention removed."""
        found: dict[str, list[tuple[int, int]]] = {}
        async with self._reading() as connection:
            rows = await connection.exec_driver_sql(
                f"SELECT writer, low, high FROM {VIEWS}.removed"
            )
            for row in rows:
                found.setdefault(row.writer, []).append((row.low, row.high))
        return found

    async def attest(self) -> None:
        """See SharedIndex."""
        async with self._session.use() as connection:
            facts = await attestation.look(connection)
            if facts.schema == SCHEMA_VERSION and not facts.recovering:
                await connection.execute(_AHEAD)
        await self._known.keep(attestation.attest(facts, await self._known.get()))
        # With a standby to wait for, a record counts when that one can show it.
        second = facts.settings.get("synchronous_standby_names", "")
        self._durability = "remote_apply" if second else "on"

    async def hear(self, heard: Callable[[str, int], None]) -> None:
        """See SharedIndex."""
        await hear(self._url, heard)

    async def insert(self, rows: Sequence[Row], writer: str, position: Position) -> None:
        """See Index. Raises ForeignRecordsError when the index has a different line."""
        if not rows:
            return
        async with self._filling.adding(rows, writer) as full:
            await self._try(rows, writer, full)
            self._certain[writer] = position.seq

    async def note(self, row: Row) -> None:
        """Note again which call `row`, that is there, leaves open or has ended."""
        async with self._session.use() as connection:
            await _quietly(connection, _BEGIN.format(durability=self._durability))
            await _note(connection, [row], row.writer)
            await _commit(connection, f"{row.writer} {row.seq}")

    async def _try(self, rows: Sequence[Row], writer: str, full: Sequence[Block]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._insert(rows, writer, full)
            except _AgainError as error:
                if attempt == _ATTEMPTS:
                    raise UnavailableError(f"PostgreSQL: {error.__cause__}.") from error
                self._certain.pop(writer, None)
                self._days.clear()
            else:
                return

    async def _insert(self, rows: Sequence[Row], writer: str, full: Sequence[Block]) -> None:
        async with self._session.use() as connection:
            if self._generation != self._session.generation:
                self._certain.clear()
                await self._require_same_server(connection)
                self._generation = self._session.generation
            certain = self._certain.pop(writer, None)  # until it is committed
            await self._ensure(connection, rows)
            await _quietly(connection, _BEGIN.format(durability=self._durability))
            missing: Sequence[Row] = rows
            if certain is None or rows[0].seq <= certain:
                missing = await _missing(connection, rows, writer)
            try:
                await _copy(connection, missing, writer)
                for block in full:
                    await _add(connection, block)
            except (asyncpg.UniqueViolationError, asyncpg.CheckViolationError) as error:
                # Somebody else was faster, or dropped a partition; the database tells which.
                await _quietly(connection, "ROLLBACK")
                raise _AgainError from error
            await _commit(connection, f"{writer} {rows[-1].seq}")

    async def _require_same_server(self, connection: Any) -> None:  # noqa: ANN401
        """Raise UnavailableError, once, when another server took over between two steps.

        It may lack the last of what the one before it had committed, and then these rows would
        stand above a gap: whoever ships asks first what it has.
        """
        _, server = await connection.fetchrow(WHICH_SERVER)
        before, self._server = self._server, server
        if before not in {None, server}:
            raise UnavailableError("Another PostgreSQL server took over; it is asked what it has.")

    async def _ensure(self, connection: Any, rows: Sequence[Row]) -> None:  # noqa: ANN401
        """Make the partitions these rows need, in a transaction of their own."""
        days = {row.at // DAY_MICROS for row in rows} - self._days
        if days:
            await _quietly(connection, _BEGIN.format(durability="on"))
            await connection.fetchval(f"SELECT {SCHEMA}.ensure_partitions($1)", sorted(days))
            await _quietly(connection, "COMMIT")
            self._days |= days


class _AgainError(Exception):
    """The step met what another process did; it is to be tried again."""


async def _quietly(connection: Any, statement: str) -> None:  # noqa: ANN401
    await connection.execute(statement)


async def _missing(connection: Any, rows: Sequence[Row], writer: str) -> list[Row]:  # noqa: ANN401
    """Those of `rows` that are not there. Raises ForeignRecordsError when one is, differently."""
    found = await connection.fetch(
        f"SELECT seq, same FROM {SCHEMA}.compare($1, $2, $3)",
        writer,
        [row.seq for row in rows],
        [sha256(row.line).digest() for row in rows],
    )
    different = [seq for seq, same in found if not same]
    if different:
        raise ForeignRecordsError(
            f"The index holds other records of writer {writer} from seq {min(different)}.",
            hint="Was the journal restored from an older copy?",
        )
    there = {seq for seq, _ in found}
    return [row for row in rows if row.seq not in there]


async def _copy(connection: Any, rows: Sequence[Row], writer: str) -> None:  # noqa: ANN401
    if not rows:
        return
    await connection.copy_records_to_table(
        "events", schema_name=SCHEMA, columns=_COLUMNS, records=rows
    )
    await _note(connection, rows, writer)


async def _note(connection: Any, rows: Sequence[Row], writer: str) -> None:  # noqa: ANN401
    opened, closed = open_changes(rows)
    if opened or closed:
        await connection.execute(
            f"SELECT {SCHEMA}.note_calls($1, $2, $3, $4, $5, $6)",
            writer,
            [call.audit_id for call in opened],
            [call.seq for call in opened],
            [call.at for call in opened],
            [call.audit_id for call in closed],
            [call.at for call in closed],
        )


async def _add(connection: Any, block: Block) -> None:  # noqa: ANN401
    """Add a block, unless it is there: then another process made the same."""
    fields, values, bits = zip(*block.postings, strict=True) if block.postings else ((), (), ())
    runs, texts = zip(*block.texts, strict=True) if block.texts else ((), ())
    await connection.execute(
        f"SELECT {SCHEMA}.add_block($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        *block[: len(Block._fields) - 2],
        *(fields, values, bits, runs, texts),
    )


async def _commit(connection: Any, told: str) -> None:  # noqa: ANN401
    """Commit, and believe it only when nothing was said against it.

    A COMMIT whose wait for a standby was cut short succeeds, with a warning; one of a failed
    transaction succeeds, and rolls back.
    """
    warnings: list[str] = []

    def listen(_: object, message: Any) -> None:  # noqa: ANN401
        warnings.append(message.message)

    await connection.fetchrow(_END, told)
    connection.add_log_listener(listen)
    try:
        status = await connection.execute("COMMIT")
    finally:
        if not connection.is_closed():
            connection.remove_log_listener(listen)
    if status != "COMMIT" or warnings:
        raise UnavailableError(
            f"PostgreSQL did not commit as asked: {'; '.join(warnings) or status}.",
            hint="Calls go on and are recorded; the rows are sent again.",
        )
