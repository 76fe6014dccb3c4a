"""Reading blocks: their times, their postings, their pieces of text and the texts themselves.

What they mean stands in `proxy.audit.index.blocks` and `grams`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.audit.index.asking import Asker
from proxy.audit.index.blocks import (
    BLOCK,
    EVERYWHERE,
    LATER,
    Field,
    decode,
    run_times,
    slice_name,
)
from proxy.audit.index.grams import SLOTS_A_SLICE, WORD, Wanted
from proxy.audit.index.narrowing import AnyWay, Need

_SPANS: Final = "SELECT number, writer, first, oldest, newest FROM blocks"
_REMOVED: Final = "SELECT writer, low, high FROM removed"
_TIMES: Final = "SELECT number, runs FROM blocks WHERE number AMONG $1"
_TEXTS: Final = "SELECT run, texts FROM run_texts WHERE run AMONG $1"
_POSTED: Final = "SELECT block, bits FROM postings WHERE block AMONG $1 AND field = $2 AND "
_VALUES: Final = "SELECT block, value, bits FROM postings WHERE block AMONG $1 AND field = $2"
_WITHOUT: Final = (
    "SELECT number FROM blocks WHERE number AMONG $1"
    " AND NOT EXISTS (SELECT 1 FROM postings WHERE block = number AND field = $2)"
)
_PIECE: Final = (
    "SELECT block, substr(bits, $4, $5) FROM postings"
    " WHERE block AMONG $1 AND field = $2 AND value = $3"
)


class Span(NamedTuple):
    """A block, and when its events were, µs since the epoch."""

    number: int
    writer: str
    first: int
    oldest: int
    newest: int


class Postings:
    """The blocks of an index, on a connection that sees one state of it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._ask = Asker(connection).ask
        self._may_lack = connection.dialect.name == "postgresql"

    async def spans(self) -> tuple[list[Span], dict[str, int]]:
        """All blocks; and by writer, the sequence that the first event in no block has at least."""
        found = [Span._make(row) for row in await self._ask(_SPANS)]
        ends: dict[str, int] = {}
        for span in found:
            ends[span.writer] = max(ends.get(span.writer, 0), span.first + BLOCK)
        return [span for span in found if span.first >= 0], ends

    async def removed(self) -> list[tuple[str, int, int]]:
        """(writer, from, before) of what a retention removed, and blocks may still point to."""
        return [tuple(row) for row in await self._ask(_REMOVED)] if self._may_lack else []

    async def times(self, numbers: Iterable[int]) -> dict[int, list[tuple[int, int]]]:
        """By block, (oldest, newest) of its runs, µs since the epoch."""
        found = await self._ask(_TIMES, [*numbers])
        return {number: run_times(runs) for number, runs in found}

    async def places(self, need: Need | AnyWay, numbers: Iterable[int]) -> dict[int, int]:
        """By block, where what is needed stands, as bits."""
        if isinstance(need, AnyWay):
            return await self._any_way(need, [*numbers])
        statement, values = _posted(need)
        found: defaultdict[int, int] = defaultdict(int)
        for block, bits in await self._ask(statement, [*numbers], int(need.field), *values):
            found[block] |= decode(bits)
        for block in await self.without(need.field, numbers):
            found[block] = EVERYWHERE
        return found

    async def without(self, field: Field, numbers: Iterable[int]) -> set[int]:
        """Which of these blocks were made before `field` was posted: they say nothing about it."""
        if not self._may_lack or field not in LATER:
            return set()
        return {number for (number,) in await self._ask(_WITHOUT, [*numbers], int(field))}

    async def _any_way(self, need: AnyWay, numbers: list[int]) -> dict[int, int]:
        found: defaultdict[int, int] = defaultdict(int)
        for way in need.ways:
            left: dict[int, int] | None = None
            for part in way:
                left = both(left, await self.places(part, numbers if left is None else left))
            for block, bits in (left or {}).items():
                found[block] |= bits
        return found

    async def values(self, field: Field, numbers: Iterable[int]) -> list[tuple[int, bytes, int]]:
        """(block, value, its places as bits) for all values of a field."""
        found = await self._ask(_VALUES, [*numbers], int(field))
        return [(block, value, decode(bits)) for block, value, bits in found]

    async def runs_with(self, piece: Wanted, numbers: Iterable[int]) -> dict[int, int]:
        """By block, the runs that have a piece of text, as bits."""
        number, at = divmod(piece.slot, SLOTS_A_SLICE)
        where = (slice_name(number), at * WORD + 1, piece.width * WORD)
        found = await self._ask(_PIECE, [*numbers], int(Field.PIECES), *where)
        return {block: _any_word(bits) for block, bits in found}

    async def texts(self, runs: Iterable[int]) -> Sequence[tuple[int, bytes]]:
        """(run, its packed texts) for each of these, see `schema.run_key`."""
        return await self._ask(_TEXTS, [*runs])


def _posted(need: Need) -> tuple[str, list[Any]]:
    """The statement for the postings of any one of a need's values, and those values.

    A part for each range: so each of them is looked up, and not all values of the field.
    """
    values: list[Any] = []

    def parameter(value: bytes) -> str:
        values.append(value)
        return f"${len(values) + 2}"  # behind the blocks and the field

    either = [
        f"value >= {parameter(low)} AND value < {parameter(high)}" for low, high in need.ranges
    ]
    if need.exact:
        either.append(f"value IN ({', '.join(map(parameter, need.exact))})")
    return " UNION ALL ".join(_POSTED + part for part in either or ["false"]), values


def _any_word(words: bytes) -> int:
    """The runs that stand in any of some words."""
    found = 0
    for at in range(0, len(words), WORD):
        found |= int.from_bytes(words[at : at + WORD], "little")
    return found


def both(left: dict[int, int] | None, right: dict[int, int]) -> dict[int, int]:
    """By block, the places that stand in both; blocks without any are left out."""
    if left is None:
        return {block: bits for block, bits in right.items() if bits}
    shared = {block: bits & right.get(block, 0) for block, bits in left.items()}
    return {block: bits for block, bits in shared.items() if bits}
