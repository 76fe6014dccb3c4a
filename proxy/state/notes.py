"""Notes of acts that were done where no journal was, kept until a server records them.

`db upgrade` may run on a machine that has no data directory, and before any server does. It leaves a
note of what it did in the database itself; the next server that starts puts it on record.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec
from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import Executable

from proxy.clock import Clock
from proxy.state import tables
from proxy.state.transactions import READ_VERSION

MOST: Final = 500
"""Notes that one start records; an upgrade leaves two."""
Changing = Callable[[Executable], AbstractAsyncContextManager[tuple[AsyncConnection, int]]]


class Note(msgspec.Struct, frozen=True):
    """One event of an act, as a journal would have it."""

    id: str
    noted_at: float
    """When it was done, in seconds since the epoch."""
    event: str
    """JSON of a SystemEvent."""


class Notes:
    """Those in the state's database. Each method is one transaction; UnavailableError."""

    def __init__(self, changing: Changing, clock: Clock, *, remote: bool) -> None:
        self._changing = changing
        self._clock = clock
        self._remote = remote

    async def add(self, notes: Iterable[Note]) -> None:
        """Keep notes that were found elsewhere; one that is known already stays as it is."""
        values = [msgspec.structs.asdict(note) for note in notes]
        if not values:
            return
        dialect: Any = postgresql if self._remote else sqlite
        async with self._changing(READ_VERSION) as (connection, _):
            await connection.execute(
                dialect.insert(tables.noted_acts).on_conflict_do_nothing(), values
            )

    async def settle(self, record: Callable[[Note], Awaitable[None]]) -> int:
        """Hand each note that was not recorded to `record`, the oldest first; how many there were.

        Of replicas that start at once one does it. What fails in between is handed over again the
        next time: better twice on record, under one id, than not at all.
        """
        table = tables.noted_acts
        wanted = (
            select(table.c.id, table.c.noted_at, table.c.event)
            .where(table.c.recorded_at.is_(None))
            .order_by(table.c.noted_at, table.c.id)
            .limit(MOST)
            .with_for_update()
        )
        async with self._changing(READ_VERSION) as (connection, _):
            notes = [Note(*row) for row in (await connection.execute(wanted)).all()]
            for note in notes:
                await record(note)
            done = update(table).where(table.c.id.in_([note.id for note in notes]))
            if notes:
                await connection.execute(done.values(recorded_at=self._clock.now()))
        return len(notes)
