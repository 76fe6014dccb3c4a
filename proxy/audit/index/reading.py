"""Reading the index: search, count and look up, on SQLite and PostgreSQL alike.

What differs between them is how rows get in; each database has a module of its own for that.
"""

import heapq
import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any, Final

from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError
from sqlalchemy import ColumnElement, Select, func, select, true
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from proxy.audit.event import WITHHELD
from proxy.audit.index import selects
from proxy.audit.index.counting import counted
from proxy.audit.index.places import Part, Question
from proxy.audit.index.query import Cursor, Filter, Within, visible
from proxy.audit.index.rows import EVENT, Row
from proxy.audit.index.schema import events
from proxy.audit.index.searching import Finder, open_parts
from proxy.audit.index.store import By, Page, Stats, Tally, Toucher
from proxy.audit.index.walking import Walk
from proxy.audit.resources import Resource
from proxy.errors import UnavailableError

_ERRORS: Final = (
    SQLAlchemyError,
    sqlite3.Error,
    PostgresError,
    InterfaceError,
    InternalClientError,
    OSError,
)
"""Of SQLAlchemy, and of the drivers where they are asked directly."""

Narrow = Callable[[Select[Any]], Select[Any]]


class Reader:
    """The half of `proxy.audit.index.store.Index` that reads, over any engine with our tables.

    The engine's transactions must read one state of the database from their first statement to
    their last.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def search(
        self,
        given: Filter,
        *,
        limit: int = 100,
        cursor: Cursor | None = None,
        oldest_first: bool = False,
    ) -> Page:
        """See Index."""
        async with self._reading() as connection:
            paged = partial(selects.page, limit=limit + 1, cursor=cursor, oldest_first=oldest_first)
            open_ones = Question(connection, paged(selects.still_open(given, *events.c)))
            parts = [
                [Row._make(row) for row in await open_ones.of(part)]
                for part in await open_parts(connection, given)
            ]
            if given.audit_ids:
                few = paged(selects.finished(given, *events.c))
                parts.append([Row._make(row) for row in await connection.execute(few)])
            if not given.audit_ids and not given.open_only:
                finder = Finder(connection, given)
                parts.append(await finder.page(limit + 1, cursor, oldest_first=oldest_first))
        merged = heapq.merge(*parts, key=Cursor.of, reverse=not oldest_first)
        rows = list(islice(merged, limit + 1))
        more = len(rows) > limit
        rows = rows[:limit]
        return Page(rows, Cursor.of(rows[-1]) if more else None)

    async def get(self, audit_id: str, within: Within | None = None) -> list[Row]:
        """See Index."""
        statement = select(events).where(events.c.audit_id == audit_id)
        found = await self._all(statement.order_by(events.c.at, events.c.writer, events.c.seq))
        rows = [Row._make(row) for row in found]
        return rows if within is None else _seen(rows, within)

    async def who(
        self,
        cluster: str,
        namespace: str,
        resource: Resource,
        name: str,
        within: Within | None = None,
    ) -> list[Toucher]:
        """See Index."""
        column = events.c
        groups = (column.username, column.verb, column.code)
        # A name may end in `*`; so this finds the object, and perhaps others.
        about = Filter(
            clusters=(cluster,) if cluster else (),
            namespaces=(namespace,),
            names=(name,),
            include_noise=True,
            within=within,
        )
        found = await self._both(
            about,
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
        found = _tally(await self._counted(given, by))
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

    async def _counted(self, given: Filter, by: By) -> list[Any]:
        """Counts by value, from the blocks as far as they tell them."""
        columns = (column := events.c[selects.COUNTED[by]], *selects.tallies())
        async with self._reading() as connection:
            known = await counted(connection, given, by)
            if known is not None:
                found: list[Any] = list(known.found)
                finished = selects.finished(given, *columns).group_by(column)
                for where in known.left:
                    found += (await connection.execute(finished.where(where))).all()
                still_open = selects.still_open(given, *columns).group_by(column)
                question = Question(connection, still_open)
                for part in await open_parts(connection, given):
                    found += await question.of(part)
                return found
        return await self._grouped(given, column)

    async def _grouped(self, given: Filter, value: ColumnElement[Any]) -> list[Any]:
        return await self._both(
            given, (value, *selects.tallies()), lambda chosen: chosen.group_by(value)
        )

    async def _both(self, given: Filter, columns: Iterable[Any], narrow: Narrow) -> list[Any]:
        """Rows over what is finished and over what is open, for the caller to add up."""
        found: list[Any] = []
        async with self._reading() as connection:
            finished = Question(connection, narrow(selects.finished(given, *columns)))
            async for part in _parts(connection, given):
                found += await finished.of(part)
            still_open = Question(connection, narrow(selects.still_open(given, *columns)))
            for part in await open_parts(connection, given):
                found += await still_open.of(part)
        return found

    async def after(self, writer: str, seq: int, limit: int) -> list[Row]:
        """Rows of `writer` with a sequence above `seq`, in order, at most `limit`."""
        column = events.c
        chosen = select(events).where(column.writer == writer, column.seq > seq)
        found = await self._all(chosen.order_by(column.writer, column.seq).limit(limit))
        return [Row._make(row) for row in found]

    def walk(self) -> Walk:
        """All there is, row by row, for comparing it with the journals."""
        return Walk(self._all)

    async def _all(self, statement: Select[Any]) -> Sequence[Any]:
        async with self._reading() as connection:
            found: Sequence[Any] = (await connection.execute(statement)).all()
            return found

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection in one transaction, so that both parts of an answer agree."""
        async with translated(), self._engine.connect() as connection:
            yield connection


async def _parts(connection: AsyncConnection, given: Filter) -> AsyncIterator[Part]:
    """Parts that share out among them the finished events that a filter may find."""
    if given.open_only:
        return
    if given.audit_ids:
        yield Part(true())
        return
    async for part in Finder(connection, given).parts():
        yield part


def _seen(rows: list[Row], within: Within) -> list[Row]:
    """What may be seen of rows under one id; with a call, what corrects what it says."""
    calls = any(row.kind == EVENT and visible(row, within) for row in rows)
    return [row for row in rows if visible(row, within) or (calls and row.action == WITHHELD)]


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


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Errors of the database as UnavailableError."""
    try:
        yield
    except _ERRORS as error:
        cause = getattr(error, "orig", None) or error
        raise UnavailableError(
            f"the index cannot be read or written: {cause}",
            hint="What is recorded is in the journals; the index follows when it is back.",
        ) from error
