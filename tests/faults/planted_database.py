"""Planted bugs of the index in PostgreSQL and of what ships to it: each loses, doubles, alters or lies.

They replace one or two attributes of the product in this process.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import asyncpg

from proxy.audit.index import postgres, tailing
from proxy.audit.index.indexer import Indexer
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.rows import Row
from proxy.audit.index.rows import rows as sound_rows
from proxy.audit.index.shipping import Shipper
from proxy.audit.index.store import Position
from proxy.audit.index.tailing import JournalTail
from proxy.errors import UnavailableError
from tests.faults import database
from tests.faults.bug import Bug
from tests.faults.planted_replicas import rows_dropped_after_a_failure
from tests.faults.report import Report
from tests.faults.swapping import swapped

_SMALL: Final = database.Size(cuts=60, stops=12, calls=2_000, writers=2, seconds=8, level=4)
Rig = Callable[[database.Size, int | None], Coroutine[Any, Any, Report]]


def _position_before_rows() -> contextlib.AbstractContextManager[None]:
    async def one_pass(self: Shipper) -> int:
        await self._attest()
        await self._find_journals()
        added = 0
        for directory, tail in list(self._tails.items()):
            added += await self._follow(directory, tail)
        return added  # and where a pass failed, the tails stay behind the rows that were not added

    return swapped((Shipper, "_pass", one_pass))


def _commit_believed() -> contextlib.AbstractContextManager[None]:
    sound = PostgresIndex.insert

    async def insert(self: PostgresIndex, rows: Any, writer: str, position: Position) -> None:
        with contextlib.suppress(UnavailableError):
            await sound(self, rows, writer, position)

    return swapped((PostgresIndex, "insert", insert))


def _without_transaction() -> contextlib.AbstractContextManager[None]:
    sound = postgres._copy

    async def begin(connection: Any, statement: str) -> None:
        if statement.startswith("BEGIN"):
            statement = "SELECT 1"
        await connection.execute(statement)

    async def copy(connection: Any, rows: Sequence[Row], writer: str) -> None:
        await sound(connection, rows[len(rows) // 2 :], writer)
        await asyncio.sleep(0.02)  # whatever a server does in between
        await sound(connection, rows[: len(rows) // 2], writer)

    return swapped((postgres, "_quietly", begin), (postgres, "_copy", copy))


def _other_lines_accepted() -> contextlib.AbstractContextManager[None]:
    async def missing(connection: Any, rows: Sequence[Row], writer: str) -> list[Row]:
        found = await connection.fetch(
            "SELECT seq FROM kubewitness.compare($1, $2, $3)",
            *(writer, [row.seq for row in rows], [b"" for _ in rows]),
        )
        there = {seq for (seq,) in found}
        return [row for row in rows if row.seq not in there]

    async def probe(self: Shipper) -> None:
        del self

    return swapped(
        (postgres, "_missing", missing),
        (Shipper, "_begin", Indexer._begin),
        (Shipper, "_probe", probe),
    )


def _lines_encoded_anew() -> contextlib.AbstractContextManager[None]:
    def rows(*given: Any) -> list[Row]:
        return [
            row._replace(line=row.line.replace(b'":"', b'": "', 1)) for row in sound_rows(*given)
        ]

    return swapped((tailing, "rows", rows))


def _not_synchronous() -> contextlib.AbstractContextManager[None]:
    begin = postgres._BEGIN.replace("{durability}", "off")
    return swapped((postgres, "_BEGIN", begin))


def _blind_retry() -> contextlib.AbstractContextManager[None]:
    """Both the position and the rows that are there are remembered instead of asked for."""

    async def missing(connection: Any, rows: Sequence[Row], writer: str) -> list[Row]:
        del connection, writer
        return list(rows)

    return swapped((postgres, "_missing", missing), *_REMEMBERED)


def _conflict_taken_for_success() -> contextlib.AbstractContextManager[None]:
    sound = postgres._copy

    async def missing(connection: Any, rows: Sequence[Row], writer: str) -> list[Row]:
        del connection, writer
        return list(rows)

    async def copy(connection: Any, rows: Sequence[Row], writer: str) -> None:
        await connection.execute("SAVEPOINT s")
        try:
            await sound(connection, rows, writer)
        except asyncpg.UniqueViolationError:
            # They are there already; but so is not what came behind them.
            await connection.execute("ROLLBACK TO SAVEPOINT s")

    return swapped((postgres, "_missing", missing), (postgres, "_copy", copy), *_REMEMBERED)


async def _remembered(self: PostgresIndex) -> dict[str, Position]:
    return dict(getattr(self, "remembered", {}))


_sound_insert = PostgresIndex.insert


async def _remembering(self: Any, rows: Any, writer: str, position: Position) -> None:
    await _sound_insert(self, rows, writer, position)
    self.remembered = {writer: Position("", 0, position.seq)}


async def _begin_there(self: Shipper, directory: Any, writer: str, position: Position) -> None:
    """Skips to a remembered position without a look at what the index has."""
    place = await asyncio.to_thread(tailing.seek, directory, position.seq) if position.seq else None
    del writer
    self._tails[directory] = JournalTail(
        directory, place.position if place else position, sync=True
    )


async def _no_probe(self: Shipper) -> None:
    del self


_REMEMBERED: Final = (
    (PostgresIndex, "positions", _remembered),
    (PostgresIndex, "insert", _remembering),
    (Shipper, "_begin", _begin_there),
    (Shipper, "_probe", _no_probe),
)


def _hunting(rig: Rig) -> Callable[[Bug], Report]:
    def hunt(bug: Bug) -> Report:
        with bug.plant():
            return asyncio.run(rig(_SMALL, 1))

    return hunt


BUGS: Final = (
    Bug(
        "database-position-before-rows",
        "A step that failed counts as read: its rows are never sent again.",
        _position_before_rows,
        _hunting(database.commit_cuts),
    ),
    Bug(
        "database-commit-believed",
        "A COMMIT without an answer counts as done.",
        _commit_believed,
        _hunting(database.commit_cuts),
    ),
    Bug(
        "database-first-row-of-a-retry-dropped",
        "A retry takes its first row for sent.",
        rows_dropped_after_a_failure,
        _hunting(database.commit_cuts),
    ),
    Bug(
        "database-no-transaction",
        "Rows are added without a transaction, the later ones first.",
        _without_transaction,
        _hunting(database.immediate_stops),
    ),
    Bug(
        "database-other-lines-accepted",
        "A conflict counts as the same record, whatever its line is.",
        _other_lines_accepted,
        _hunting(database.restored_journal),
    ),
    Bug(
        "database-lines-encoded-anew",
        "Lines are stored as an encoder writes them, not as the journal has them.",
        _lines_encoded_anew,
        _hunting(database.commit_cuts),
    ),
    Bug(
        "database-not-synchronous",
        "COMMIT does not wait for the server's disk.",
        _not_synchronous,
        _hunting(database.immediate_stops),
    ),
    Bug(
        "database-blind-retry",
        "After an ambiguous COMMIT the same rows are copied again, for ever in conflict.",
        _blind_retry,
        _hunting(database.commit_cuts),
    ),
    Bug(
        "database-conflict-taken-for-success",
        "A batch in conflict counts as there, with the rows behind the conflict.",
        _conflict_taken_for_success,
        _hunting(database.commit_cuts),
    ),
)
