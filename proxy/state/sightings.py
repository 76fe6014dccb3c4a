"""Sightings: from where each user and each credential was used, when first, when last, how often.

Kept for telling what is out of the ordinary, and shown by an investigation. They are written behind
the calls, so the last seconds may be missing; the records in the journals are not. They are no part
of a snapshot, so writing them does not raise the version of the state.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec
from sqlalchemy import case, delete, extract, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import Executable

from proxy.clock import Clock
from proxy.state import tables
from proxy.state.transactions import READ_VERSION

OVERLAP: Final = 10.0
"""Seconds that are read again each time: a transaction may commit later than one that began after it."""
BATCH: Final = 500
"""Rows of one change: it must end well within the time a server has."""

Key = tuple[str, str, str]
"""User, credential (empty: all of the user's), address."""
Reading = Callable[[], AbstractAsyncContextManager[tuple[AsyncConnection, int]]]
Changing = Callable[[Executable], AbstractAsyncContextManager[tuple[AsyncConnection, int]]]


class Sighting(msgspec.Struct, frozen=True):
    """Calls of a user, or with one of their credentials, from one address."""

    user: str
    credential: str
    """Serial; empty for all of the user's together, which outlives each of them."""
    address: str
    first_seen: float
    last_seen: float
    """Seconds since the epoch."""
    calls: int

    @property
    def key(self) -> Key:
        """What there is one of."""
        return self.user, self.credential, self.address


class Sightings:
    """Those in the state's database. Each method is one transaction; UnavailableError."""

    def __init__(self, reading: Reading, changing: Changing, clock: Clock, *, remote: bool) -> None:
        self._reading = reading
        self._changing = changing
        self._clock = clock
        self._remote = remote

    async def latest(self, since: float, limit: int) -> tuple[list[Sighting], float]:
        """What was written since a moment, the latest first, and the moment to ask from next time.

        Moments are of the database's clock, or of ours where it is embedded; 0 is the beginning.
        """
        table = tables.sightings
        query = (
            select(*_COLUMNS)
            .where(table.c.written_at >= since - OVERLAP)
            .order_by(table.c.written_at.desc())
            .limit(limit)
        )
        async with self._reading() as (connection, _):
            now = await self._now(connection)
            rows = (await connection.execute(query)).all()
        return [Sighting(*row) for row in rows], now

    async def of_user(self, user: str, limit: int) -> list[Sighting]:
        """All of a user's, the latest first."""
        table = tables.sightings
        query = select(*_COLUMNS).where(table.c.user == user)
        async with self._reading() as (connection, _):
            rows = await connection.execute(query.order_by(table.c.last_seen.desc()).limit(limit))
            return [Sighting(*row) for row in rows]

    async def add(self, seen: Sequence[Sighting]) -> None:
        """Add calls to what is there, BATCH of them at most.

        In order of their keys, so that two writers never wait for each other.
        """
        if not seen:
            return
        async with self._changing(READ_VERSION) as (connection, _):
            now = await self._now(connection)
            ordered = sorted(seen, key=lambda one: one.key)
            values = [msgspec.structs.asdict(one) | {"written_at": now} for one in ordered]
            await connection.execute(self._upsert(), values)

    async def forget(self, keys: Sequence[Key]) -> None:
        """Remove some, BATCH of them at most: there are too many of their user or credential."""
        if not keys:
            return
        table = tables.sightings
        key = tuple_(table.c.user, table.c.credential, table.c.address)
        async with self._changing(READ_VERSION) as (connection, _):
            await connection.execute(delete(table).where(key.in_(sorted(keys))))

    async def prune(self, before: float) -> int:
        """Remove those of credentials that were not used since; users keep theirs. How many it were."""
        table = tables.sightings
        gone = delete(table).where(table.c.credential != "", table.c.last_seen < before)
        async with self._changing(READ_VERSION) as (connection, _):
            return int((await connection.execute(gone)).rowcount)

    async def _now(self, connection: AsyncConnection) -> float:
        if not self._remote:
            return self._clock.now()
        # Clocks of replicas differ; the server has one.
        return float((await connection.execute(select(_SERVER_TIME))).scalar_one())

    def _upsert(self) -> Executable:
        table = tables.sightings
        made: Any = (postgresql if self._remote else sqlite).insert(table)
        new = made.excluded
        first, last = table.c.first_seen, table.c.last_seen
        statement: Executable = made.on_conflict_do_update(
            index_elements=[table.c.user, table.c.credential, table.c.address],
            set_={
                "first_seen": case((new.first_seen < first, new.first_seen), else_=first),
                "last_seen": case((new.last_seen > last, new.last_seen), else_=last),
                "calls": table.c.calls + new.calls,
                "written_at": new.written_at,
            },
        )
        return statement


_COLUMNS: Final = (
    tables.sightings.c.user,
    tables.sightings.c.credential,
    tables.sightings.c.address,
    tables.sightings.c.first_seen,
    tables.sightings.c.last_seen,
    tables.sightings.c.calls,
)
_SERVER_TIME: Final = extract("epoch", func.clock_timestamp())
