"""The index in SQLite: one file beside the journals, the embedded default.

One connection writes and checkpoints; the others only read. That keeps clear of the WAL-reset
defect of SQLite 3.7.0 to 3.51.2 (fixed in 3.51.3), which needs two connections that write or
checkpoint. `synchronous=NORMAL` may lose the last commits when power fails: they are read again
from the journals.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import structlog
from sqlalchemy import Connection, delete, event, insert, inspect, select
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from proxy.audit.index.blocks import BLOCK, RUNS, Block
from proxy.audit.index.filling import Filling
from proxy.audit.index.open_changes import open_changes
from proxy.audit.index.reading import Reader, translated
from proxy.audit.index.rows import Row
from proxy.audit.index.schema import (
    VERSION,
    blocks,
    events,
    metadata,
    open_calls,
    positions,
    postings,
    run_key,
    run_texts,
    schema_version,
)
from proxy.audit.index.store import Position

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

# As text and positional, straight to the driver: 42 columns by name cost more than the insert.
_INSERT: Final = str(
    insert(events)
    .prefix_with("OR IGNORE")
    .compile(dialect=sqlite_dialect(paramstyle="qmark"), column_keys=list(Row._fields))
)

_TERMINAL: Final = Row._fields.index("terminal")
_NOISE: Final = Row._fields.index("noise")
_OPEN: Final = "INSERT OR REPLACE INTO open_calls (audit_id, writer, seq, at) VALUES (?, ?, ?, ?)"
_CLOSE: Final = "DELETE FROM open_calls WHERE audit_id = ?"
_MOVE: Final = (
    "INSERT OR REPLACE INTO positions (writer, segment, byte_offset, seq) VALUES (?, ?, ?, ?)"
)
_BLOCK: Final = (
    "INSERT INTO blocks (number, writer, first, oldest, newest, runs) VALUES (?, ?, ?, ?, ?, ?)"
)
_POST: Final = "INSERT INTO postings (block, field, value, bits) VALUES (?, ?, ?, ?)"
_TEXTS: Final = "INSERT INTO run_texts (run, texts) VALUES (?, ?)"
_LAST: Final = "SELECT max(number) FROM blocks"
_REOPEN: Final = (
    "INSERT OR REPLACE INTO open_calls (audit_id, writer, seq, at)"
    " SELECT audit_id, writer, max(seq), at FROM events e WHERE writer = ? AND terminal = 0"
    " AND NOT EXISTS (SELECT 1 FROM events t WHERE t.audit_id = e.audit_id AND t.terminal = 1)"
    " GROUP BY audit_id"
)


class SqliteIndex(Reader):
    """Implements `proxy.audit.index.store.Index`; made by `open`."""

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine) -> None:
        super().__init__(reader)
        self._writer = writer
        self._filling = Filling(self._all, self.after)

    @classmethod
    async def open(cls, path: Path) -> Self:
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
        async with translated(), writer.begin() as connection:
            path.chmod(0o600)  # noqa: ASYNC240  # once, at start
            await connection.run_sync(metadata.create_all)
            await connection.exec_driver_sql(
                "INSERT OR REPLACE INTO index_schema (id, version) VALUES (1, ?)", (VERSION,)
            )
        return cls(writer, _engine(path, _READER, pool_size=_READERS))

    async def close(self) -> None:
        """See Index. The writer goes last: the last connection checkpoints."""
        await self._engine.dispose()
        await self._writer.dispose()

    async def positions(self) -> dict[str, Position]:
        """See Index."""
        found = await self._all(select(positions))
        return {writer: Position(segment, offset, seq) for writer, segment, offset, seq in found}

    async def insert(self, rows: Sequence[Row], writer: str, position: Position) -> None:
        """See Index."""
        async with (
            self._filling.adding(rows, writer) as full,
            translated(),
            self._writer.begin() as connection,
        ):
            last = (await connection.exec_driver_sql(_LAST)).scalar() if full else 0
            values = await asyncio.to_thread(_values, rows, full, last or 0)
            for statement, some in (*values, (_MOVE, [(writer, *position)])):
                if some:
                    await connection.exec_driver_sql(statement, some)

    async def rewind(self, writer: str, seq: int) -> None:
        """See Index."""
        self._filling.forget(writer)
        async with translated(), self._writer.begin() as connection:
            later = (events.c.writer == writer, events.c.seq >= seq)
            await connection.execute(delete(events).where(*later))
            await connection.execute(delete(open_calls).where(open_calls.c.writer == writer))
            await connection.exec_driver_sql(_REOPEN, (writer,))
            touched = (blocks.c.writer == writer, blocks.c.first + BLOCK > seq)
            numbers = select(blocks.c.number).where(*touched)
            await connection.execute(delete(postings).where(postings.c.block.in_(numbers)))
            of_blocks = (run_texts.c.run // RUNS).in_(numbers)
            await connection.execute(delete(run_texts).where(of_blocks))
            await connection.execute(delete(blocks).where(*touched))


def _values(rows: Sequence[Row], full: Sequence[Block], last: int) -> list[tuple[str, list[Any]]]:
    """What is inserted: statements and their values. `last` is the last block's number."""
    opened, closed = open_changes(rows)
    numbered = list(enumerate(full, last + 1))
    return [
        (_INSERT, [_plain(row) for row in rows]),
        (_CLOSE, [(call.audit_id,) for call in closed]),
        (_OPEN, [tuple(call) for call in opened]),
        (_BLOCK, [(number, *block[:-2]) for number, block in numbered]),
        (_POST, [(number, *posting) for number, block in numbered for posting in block.postings]),
        (
            _TEXTS,
            [
                (run_key(number, run), text)
                for number, block in numbered
                for run, text in block.texts
            ],
        ),
    ]


def _plain(row: Row) -> tuple[object, ...]:
    """The row as the driver binds it fastest: an exact tuple, and no bool."""
    values = list(row)
    values[_TERMINAL] = int(row.terminal)
    values[_NOISE] = int(row.noise)
    return tuple(values)


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

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # The driver begins by itself only to write; what reads must see one state, too.
        connection.exec_driver_sql("BEGIN")

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
