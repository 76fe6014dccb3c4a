"""Parts of an index as ways to narrow a statement: by a condition, or to single events by place.

A place is a writer and a sequence. Blocks and open calls tell many of them; the statement then
must go to each by its key and not read whatever lies around.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, or_, select, true
from sqlalchemy.sql.util import ClauseAdapter

from proxy.audit.index.numbers import among, listed
from proxy.audit.index.schema import events
from proxy.audit.index.selects import Condition

Narrow = Callable[[Select[Any]], Select[Any]]
"""Makes a statement about events one about some of them."""


class Place(NamedTuple):
    """One event: its writer and sequence, and between which times it lies (µs)."""

    writer: str
    seq: int
    oldest: int
    newest: int


def only(where: Condition) -> Narrow:
    """Those that meet a condition."""
    return lambda chosen: chosen.where(where)


def at_places(places: Sequence[Place], *, partitioned: bool, timed: bool = False) -> Narrow:
    """Those at these places, of which there is one at least.

    With `timed`, their times help in a table without partitions, too.
    """
    return _each_by_key(places) if partitioned else only(_one_of(places, timed=timed))


def _each_by_key(places: Sequence[Place]) -> Narrow:
    """Look for each in the one or two partitions where it may be, not in all, by its key.

    The subquery says so in a way that leaves the planner no choice. It knows nothing of a
    partition that was filled just now, takes it for small, and reads it as a whole, once or even
    for each place: with lists, with a join, and also with ways of joining forbidden.
    """
    column = events.c
    wanted = listed(
        writer=[one.writer for one in places],
        seq=[one.seq for one in places],
        oldest=[one.oldest for one in places],
        newest=[one.newest for one in places],
    )
    found = (
        select(events)
        .where(
            column.writer == wanted.c.writer.collate("C"),
            column.seq == wanted.c.seq,
            column.at.between(wanted.c.oldest, wanted.c.newest),
            # Says nothing new, but spares the planner the partitions outside.
            column.at.between(_oldest(places), _newest(places)),
        )
        .offset(0)  # a subquery with it is planned by itself
        .lateral("found")
    )
    adapter = ClauseAdapter(found)

    def narrow(chosen: Select[Any]) -> Select[Any]:
        adapted: Select[Any] = adapter.traverse(chosen)
        return adapted.select_from(wanted.join(found, true()))

    return narrow


def _one_of(places: Sequence[Place], *, timed: bool) -> Condition:
    column = events.c
    of_writer: defaultdict[str, list[int]] = defaultdict(list)
    for one in places:
        of_writer[one.writer].append(one.seq)
    either = or_(
        *(
            and_(column.writer == writer, among(column.seq, seqs))
            for writer, seqs in of_writer.items()
        )
    )
    if not timed:
        return either
    return and_(either, column.at.between(_oldest(places), _newest(places)))


def _oldest(places: Sequence[Place]) -> int:
    return min(one.oldest for one in places)


def _newest(places: Sequence[Place]) -> int:
    return max(one.newest for one in places)
