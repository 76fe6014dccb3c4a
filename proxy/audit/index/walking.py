"""Walking through the index: every row of a writer in order, whatever somebody put beside the true ones.

For whoever compares the index with the journals. In PostgreSQL a sequence may stand under a writer
more than once (its unique key holds the time, too), and nobody keeps a thief of `serve`'s login from
sequences that no journal has; so nothing is taken for granted here but the order.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, func, select, tuple_

from proxy.audit.index.rows import Row
from proxy.audit.index.schema import events, open_calls

FIRST: Final = -(1 << 63)
LAST: Final = (1 << 63) - 1
"""The sequences, and the times, that a column can hold."""
_PAGE: Final = 2000
"""Rows that are read together."""
_COUNTED: Final = 50_000
"""Rows that are counted together."""

Ask = Callable[[Select[Any]], Awaitable[Sequence[Any]]]
"""All rows of a statement, from the index that is walked through."""


class Latest(NamedTuple):
    """The latest event of a call that is open."""

    writer: str
    seq: int
    at: int


class Walk:
    """One index, asked through `ask`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def writers(self) -> AsyncIterator[str]:
        """Everybody under whose name there is a row, in the database's order."""
        named = select(events.c.writer).order_by(events.c.writer).limit(1)
        found = await self._ask(named)
        while found:
            writer: str = found[0][0]
            yield writer
            found = await self._ask(named.where(events.c.writer > writer))

    async def pages(
        self, writer: str, first: int = FIRST, last: int = LAST
    ) -> AsyncIterator[list[Row]]:
        """The rows of `writer` from sequence `first` to `last`, by sequence and time."""
        column = events.c
        key = tuple_(column.seq, column.at)
        chosen = select(events).where(column.writer == writer, column.seq.between(first, last))
        chosen = chosen.order_by(column.writer, column.seq, column.at).limit(_PAGE)
        rows = await self._ask(chosen)
        while rows:
            yield [Row._make(row) for row in rows]
            rows = await self._ask(chosen.where(key > (rows[-1].seq, rows[-1].at)))

    async def sequences(self, writer: str, first: int, last: int) -> set[int]:
        """The sequences from `first` to `last` under which `writer` has a row."""
        column = events.c
        chosen = select(column.seq).distinct()
        found = await self._ask(
            chosen.where(column.writer == writer, column.seq.between(first, last))
        )
        return {seq for (seq,) in found}

    async def last(self, writer: str) -> int:
        """The highest sequence under which `writer` has a row; 0 when there is none."""
        found = await self._ask(select(func.max(events.c.seq)).where(events.c.writer == writer))
        return found[0][0] or 0

    async def count(self, writer: str, first: int = FIRST, last: int = LAST) -> int:
        """How many rows of `writer` there are from sequence `first` to `last`."""
        column = events.c
        key = tuple_(column.seq, column.at)
        chosen = select(column.seq, column.at).where(
            column.writer == writer, column.seq.between(first, last)
        )
        left = chosen.order_by(column.writer, column.seq, column.at)
        total = 0
        # Some at a time: a statement that runs for a minute is ended.
        while there := await self._ask(left.offset(_COUNTED - 1).limit(1)):
            total += _COUNTED
            left = left.where(key > (there[0].seq, there[0].at))
        some = left.limit(_COUNTED).subquery()
        found = await self._ask(select(func.count()).select_from(some))
        return total + int(found[0][0])

    async def open_calls(self) -> dict[str, Latest]:
        """What is listed as open, by the call's id."""
        column = open_calls.c
        found = await self._ask(select(column.audit_id, column.writer, column.seq, column.at))
        return {audit_id: Latest(*place) for audit_id, *place in found}

    async def open_call(self, audit_id: str) -> Latest | None:
        """Where one call is listed as open; None when it is not."""
        column = open_calls.c
        chosen = select(column.writer, column.seq, column.at)
        found = await self._ask(chosen.where(column.audit_id == audit_id))
        return Latest(*found[0]) if found else None
