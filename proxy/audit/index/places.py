"""Asking a part of the index: what meets a condition, or single events whose places are known.

A place is a writer and a sequence. Blocks and open calls tell many of them; the statement must go
to each by its key then, and not read whatever lies around.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Select,
    Text,
    and_,
    bindparam,
    column,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.util import ClauseAdapter

from proxy.audit.index.numbers import among
from proxy.audit.index.schema import events
from proxy.audit.index.selects import Condition


class Place(NamedTuple):
    """One event: its writer and sequence, and between which times it lies (µs)."""

    writer: str
    seq: int
    oldest: int
    newest: int


class Part(NamedTuple):
    """Some of the events."""

    where: Condition | None
    """What they meet; without it they are looked up one by one (PostgreSQL only)."""
    places: Mapping[str, Any] = MappingProxyType({})
    """Parameters of that look-up."""


class Question:
    """A statement about all events, to be put to one part of them after the other."""

    def __init__(self, connection: AsyncConnection, chosen: Select[Any]) -> None:
        self._connection = connection
        self._chosen = chosen

    async def of(self, part: Part) -> Sequence[Any]:
        """Its rows for this part."""
        if part.where is not None:
            found = await self._connection.execute(self._chosen.where(part.where))
        else:
            found = await self._connection.execute(self._by_key, part.places)
        rows: Sequence[Any] = found.all()
        return rows

    @cached_property
    def _by_key(self) -> Select[Any]:
        # Made once: it takes longer than a look-up.
        adapted: Select[Any] = ClauseAdapter(_FOUND).traverse(self._chosen)
        return adapted.select_from(_WANTED.join(_FOUND, true()))


def at_places(places: Sequence[Place], *, partitioned: bool, timed: bool = False) -> Part:
    """The events at these places, of which there is one at least.

    With `timed`, their times help in a table without partitions, too.
    """
    oldest = min(one.oldest for one in places)
    newest = max(one.newest for one in places)
    if partitioned:
        lists = dict(zip(_LISTS, map(list, zip(*places, strict=True)), strict=True))
        return Part(None, {**lists, _OLDEST: oldest, _NEWEST: newest})
    of_writer: defaultdict[str, list[int]] = defaultdict(list)
    for one in places:
        of_writer[one.writer].append(one.seq)
    either = or_(
        *(
            and_(events.c.writer == writer, among(events.c.seq, seqs))
            for writer, seqs in of_writer.items()
        )
    )
    return Part(and_(either, events.c.at.between(oldest, newest)) if timed else either)


_LISTS: Final = {f"place_{name}": name for name in Place._fields}
"""Parameters, one list each; and the columns that they become."""
_OLDEST: Final = "places_since"
_NEWEST: Final = "places_until"
_WANTED: Final = (
    func.unnest(
        *(
            bindparam(parameter, type_=ARRAY(Text if name == "writer" else BigInteger))
            for parameter, name in _LISTS.items()
        )
    )
    .table_valued(
        *(column(name, Text if name == "writer" else BigInteger) for name in Place._fields),
        name="wanted",
    )
    .render_derived()
)
_FOUND: Final = (
    # Each is looked for in the one or two partitions where it may be, not in all, by its key. The
    # subquery says so in a way that leaves the planner no choice. It knows nothing of a partition
    # that was filled just now, takes it for small, and reads it as a whole, once or even for each
    # place: with lists, with a join, and also with ways of joining forbidden.
    select(events)
    .where(
        events.c.writer == _WANTED.c.writer.collate("C"),
        events.c.seq == _WANTED.c.seq,
        events.c.at.between(_WANTED.c.oldest, _WANTED.c.newest),
        # Says nothing new, but spares the planner the partitions outside.
        events.c.at.between(bindparam(_OLDEST), bindparam(_NEWEST)),
    )
    .offset(0)  # a subquery with it is planned by itself
    .lateral("found")
)
