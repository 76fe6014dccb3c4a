"""The index in SQLite: one file beside the journals, the embedded default.

One connection writes and checkpoints; the others only read. That keeps clear of the WAL-reset
defect of SQLite 3.7.0 to 3.51.2 (fixed in 3.51.3), which needs two connections that write or
checkpoint. `synchronous=NORMAL` may lose the last commits when power fails: they are read again
from the journals.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Select, delete, event, func, insert, inspect, select
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from proxy.audit import selects
from proxy.audit.event import Stage
from proxy.audit.query import Cursor, Filter
from proxy.audit.resources import Resource
from proxy.audit.rows import EVENT, Row
from proxy.audit.schema import VERSION, events, metadata, open_calls, positions, schema_version
from proxy.audit.store import By, Page, Position, Stats, Tally, Toucher
from proxy.errors import UnavailableError

_log = structlog.get_logger(__name__)

_READERS: Final = 4
_WRITER: Final = (
    "PRAGMA page_size=8192",  # a third fewer writes for a row than with 4096
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA busy_timeout=5000",
    "PRAGMA cache_size=-65536",
    "PRAGMA wal_autocheckpoint=16000",
)
_READER: Final = (
    "PRAGMA busy_timeout=5000",
    "PRAGMA query_only=1",
    "PRAGMA wal_autocheckpoint=0",
    "PRAGMA cache_size=-16384",
    "PRAGMA mmap_size=1073741824",
)

# As text and positional, straight to the driver: 41 columns by name cost more than the insert.
_INSERT: Final = str(
    insert(events)
    .prefix_with("OR IGNORE")
    .compile(dialect=sqlite_dialect(paramstyle="qmark"), column_keys=list(Row._fields))
)
Narrow = Callable[[Select[Any]], Select[Any]]

_TERMINAL: Final = Row._fields.index("terminal")
_NOISE: Final = Row._fields.index("noise")
_OPEN: Final = "INSERT OR REPLACE INTO open_calls (audit_id, writer, seq) VALUES (?, ?, ?)"
_CLOSE: Final = "DELETE FROM open_calls WHERE audit_id = ?"
_MOVE: Final = (
    "INSERT OR REPLACE INTO positions (writer, segment, byte_offset, seq) VALUES (?, ?, ?, ?)"
)
_REOPEN: Final = (
    "INSERT OR REPLACE INTO open_calls (audit_id, writer, seq)"
    " SELECT audit_id, writer, max(seq) FROM events e WHERE writer = ? AND terminal = 0"
    " AND NOT EXISTS (SELECT 1 FROM events t WHERE t.audit_id = e.audit_id AND t.terminal = 1)"
    " GROUP BY audit_id"
)


class SqliteIndex:
    """Implements `proxy.audit.store.Index`; made by `open`."""

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self._writer = writer
        self._reader = reader

    @classmethod
    async def open(cls, path: Path) -> "SqliteIndex":
        """Open the index at `path`, empty when there is none or one of another schema version.

        Raises UnavailableError when it can neither be opened nor made anew.
        """
        writer = _engine(path, _WRITER, pool_size=1)
        if not await _usable(writer):
            await writer.dispose()
            _log.warning("index made anew, it will be read again from the journals", path=str(path))
            for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                file.unlink(missing_ok=True)
            writer = _engine(path, _WRITER, pool_size=1)
        async with _translated(), writer.begin() as connection:
            path.chmod(0o600)  # noqa: ASYNC240  # once, at start
            await connection.run_sync(metadata.create_all)
            await connection.exec_driver_sql(
                "INSERT OR REPLACE INTO index_schema (id, version) VALUES (1, ?)", (VERSION,)
            )
        return cls(writer, _engine(path, _READER, pool_size=_READERS))

    async def close(self) -> None:
        """See Index. The writer goes last: the last connection checkpoints."""
        await self._reader.dispose()
        await self._writer.dispose()

    async def positions(self) -> dict[str, Position]:
        """See Index."""
        found = await self._all(select(positions))
        return {writer: Position(segment, offset, seq) for writer, segment, offset, seq in found}

    async def insert(self, rows: Sequence[Row], writer: str, position: Position) -> None:
        """See Index."""
        opened, closed = open_changes(rows)
        async with _translated(), self._writer.begin() as connection:
            for statement, values in (
                (_INSERT, [_plain(row) for row in rows]),
                (_CLOSE, closed),
                (_OPEN, opened),
                (_MOVE, [(writer, *position)]),
            ):
                if values:
                    await connection.exec_driver_sql(statement, list(values))

    async def rewind(self, writer: str, seq: int) -> None:
        """See Index."""
        async with _translated(), self._writer.begin() as connection:
            later = (events.c.writer == writer, events.c.seq >= seq)
            await connection.execute(delete(events).where(*later))
            await connection.execute(delete(open_calls).where(open_calls.c.writer == writer))
            await connection.exec_driver_sql(_REOPEN, (writer,))

    async def search(
        self,
        given: Filter,
        *,
        limit: int = 100,
        cursor: Cursor | None = None,
        oldest_first: bool = False,
    ) -> Page:
        """See Index."""
        parts = []
        async with self._reading() as connection:
            for chosen in (selects.finished, selects.still_open):
                statement = selects.page(
                    chosen(given, *events.c),
                    limit=limit + 1,
                    cursor=cursor,
                    oldest_first=oldest_first,
                )
                parts.append([Row._make(row) for row in await connection.execute(statement)])
        merged = heapq.merge(*parts, key=Cursor.of, reverse=not oldest_first)
        rows = [row for row, _ in zip(merged, range(limit + 1), strict=False)]
        more = len(rows) > limit
        rows = rows[:limit]
        return Page(rows, Cursor.of(rows[-1]) if more else None)

    async def get(self, audit_id: str) -> list[Row]:
        """See Index."""
        statement = select(events).where(events.c.audit_id == audit_id)
        found = await self._all(statement.order_by(events.c.at, events.c.writer, events.c.seq))
        return [Row._make(row) for row in found]

    async def who(
        self, cluster: str, namespace: str, resource: Resource, name: str
    ) -> list[Toucher]:
        """See Index."""
        column = events.c
        groups = (column.username, column.verb, column.code)
        found = await self._both(
            Filter(include_noise=True),
            (*groups, func.count(), func.min(column.at), func.max(column.at)),
            lambda chosen: selects.touched(chosen, cluster, namespace, resource, name).group_by(
                *groups
            ),
        )
        return _touchers(found)

    async def stats(
        self, given: Filter, by: By, *, bucket_seconds: int = 0, limit: int = 50
    ) -> Stats:
        """See Index."""
        column: ColumnElement[Any] = events.c[selects.COUNTED[by]]
        found = _tally(await self._grouped(given, column))
        tallies = sorted(found, key=lambda tally: (-tally.count, tally.value))
        buckets: list[Tally] = []
        if bucket_seconds > 0:
            times = _tally(await self._grouped(given, selects.bucket(bucket_seconds)))
            buckets = sorted(times, key=lambda tally: int(tally.value))
        return Stats(
            total=sum(tally.count for tally in tallies),
            failed=sum(tally.failed for tally in tallies),
            tallies=tallies[:limit],
            buckets=buckets,
        )

    async def count(self, given: Filter) -> int:
        """See Index."""
        found = await self._both(given, (func.count(),), lambda chosen: chosen)
        return sum(count for (count,) in found)

    async def _grouped(self, given: Filter, value: ColumnElement[Any]) -> list[Any]:
        return await self._both(
            given, (value, *selects.tallies()), lambda chosen: chosen.group_by(value)
        )

    async def _both(self, given: Filter, columns: Iterable[Any], narrow: Narrow) -> list[Any]:
        """Rows over what is finished and over what is open, for the caller to add up."""
        found: list[Any] = []
        async with self._reading() as connection:
            for chosen in (selects.finished, selects.still_open):
                found += (await connection.execute(narrow(chosen(given, *columns)))).all()
        return found

    async def _all(self, statement: Select[Any]) -> Sequence[Any]:
        async with self._reading() as connection:
            found: Sequence[Any] = (await connection.execute(statement)).all()
            return found

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection in one transaction, so that both parts of an answer agree."""
        async with _translated(), self._reader.connect() as connection:
            yield connection


def _plain(row: Row) -> tuple[object, ...]:
    """The row as the driver binds it fastest: an exact tuple, and no bool."""
    a, b = _TERMINAL, _NOISE
    return (*row[:a], int(row.terminal), *row[a + 1 : b], int(row.noise), *row[b + 1 :])


def open_changes(
    rows: Sequence[Row],
) -> tuple[list[tuple[str, str, int]], list[tuple[str]]]:
    """The calls that these rows leave open, and the audit ids of older ones that they end."""
    opened: dict[str, tuple[str, str, int]] = {}
    begun: set[str] = set()
    closed: list[tuple[str]] = []
    for row in rows:
        if row.kind != EVENT:
            continue
        if not row.terminal:
            opened[row.audit_id] = (row.audit_id, row.writer, row.seq)
            if row.stage == Stage.REQUEST_RECEIVED:
                begun.add(row.audit_id)
            continue
        opened.pop(row.audit_id, None)
        if row.audit_id not in begun:
            closed.append((row.audit_id,))
    return list(opened.values()), closed


def _touchers(found: Iterable[Any]) -> list[Toucher]:
    verbs: defaultdict[str, Counter[str]] = defaultdict(Counter)
    first: dict[str, int] = {}
    last: dict[str, tuple[int, int | None]] = {}
    for user, verb, code, count, earliest, latest in found:
        verbs[user][verb] += count
        first[user] = min(first.get(user, earliest), earliest)
        last[user] = max(last.get(user, (latest, code)), (latest, code), key=lambda seen: seen[0])
    touchers = [
        Toucher(user, first[user], last[user][0], dict(verbs[user]), last[user][1])
        for user in verbs
    ]
    return sorted(touchers, key=lambda toucher: -toucher.last_seen)


def _tally(found: Iterable[Any]) -> list[Tally]:
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for value, count, failures in found:
        key = "" if value is None else str(value)
        counts[key] += count
        failed[key] += failures
    return [Tally(value, count, failed[value]) for value, count in counts.items()]


def _engine(path: Path, pragmas: Iterable[str], *, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", pool_size=pool_size, max_overflow=0, pool_timeout=30
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _: object) -> None:  # noqa: ANN401  # the driver's own type
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    return engine


async def _usable(engine: AsyncEngine) -> bool:
    """Whether the database is empty or of our version; False when it is damaged or another's."""
    try:
        async with engine.connect() as connection:
            names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
            if not names:
                return True
            version = (await connection.execute(select(schema_version.c.version))).scalar()
            return version == VERSION
    except DBAPIError:
        return False


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise UnavailableError(
            f"the index cannot be read or written: {cause}",
            hint="Calls go on and are recorded; the index follows when it is back.",
        ) from error
