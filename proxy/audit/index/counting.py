"""Counting from postings alone: how often each value occurs, without looking at one event.

Only where the postings say it exactly: of whole blocks, for values and filters that are posted as
they are. What is left is named by conditions, for the database to count.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.audit.index.blocks import LATER, PLAIN, VALUE, Field, posted_code
from proxy.audit.index.narrowing import Need, needs
from proxy.audit.index.postings import Postings, Span, both
from proxy.audit.index.query import Filter, parse
from proxy.audit.index.searching import stretch, tail, window
from proxy.audit.index.selects import Condition
from proxy.audit.index.store import By

Count = tuple[str | int | None, int, int]
"""Value, how many, and how many of them failed."""


class Counted(NamedTuple):
    """What the blocks say of finished events, and conditions for those they do not say it of.

    No event meets two conditions, and none that is counted meets any.
    """

    found: list[Count]
    left: list[Condition]


_FIELDS: Final[dict[By, Field]] = {
    "user": Field.USER,
    "cluster": Field.CLUSTER,
    "verb": Field.VERB,
    "class": Field.CLASS,
    "resource": Field.RESOURCE,
    "namespace": Field.NAMESPACE,
    "code": Field.CODE,
    "tool": Field.TOOL,
}
_STEP: Final = 16
"""Blocks whose values are held at a time."""
_FAILED: Final = Need(Field.CODE, (), ((posted_code(400), posted_code(999) + b"\0"),))
_LONGER: Final = (b"/", b".")
"""What stands in the names of resources that are posted besides the plain one."""


async def counted(connection: AsyncConnection, given: Filter, by: By) -> Counted | None:
    """Counts of finished events; None when postings do not say exactly what is asked for."""
    if by not in _FIELDS or not _is_exact(given):
        return None
    counting = _Counting(Postings(connection), given, _FIELDS[by])
    return await counting.all()


def _is_exact(given: Filter) -> bool:
    """Whether postings tell all that a filter asks for, and not only where it may be."""
    wanted = parse(given)
    if wanted.text or wanted.resources or given.open_only:
        return False
    if any(column not in PLAIN for column, _, _ in wanted.texts):
        return False
    return all(len(value) < VALUE for need in needs(given, exact=True) for value in need.values())


class _Counting:
    """One count."""

    def __init__(self, postings: Postings, given: Filter, field: Field) -> None:
        self._postings = postings
        self._window = window(given)
        self._needs = needs(given, exact=True)
        self._field = field

    async def all(self) -> Counted:
        spans, ends = await self._postings.spans()
        found: list[Count] = []
        left: list[Condition] = [tail(ends)]
        inside: list[Span] = []
        removed = await self._postings.removed()
        for span in spans:
            within = self._window.since <= span.oldest and span.newest <= self._window.until
            if within and not _lacks(span, removed):
                inside.append(span)
            elif self._window.meets(span.oldest, span.newest):
                left.append(stretch([span]))
        for at in range(0, len(inside), _STEP):
            step = inside[at : at + _STEP]
            counts = await self._step([span.number for span in step])
            for span in step:
                told = counts.get(span.number, [])
                if told is None:
                    left.append(stretch([span]))
                else:
                    found += told
        return Counted(found, left)

    async def _step(self, numbers: Sequence[int]) -> dict[int, list[Count] | None]:
        """What each block says; None where it does not say it exactly."""
        old: set[int] = set()
        for field in {need.field for need in self._needs if isinstance(need, Need)} & LATER:
            old |= await self._postings.without(field, numbers)
        counts: dict[int, list[Count] | None] = dict.fromkeys(old)
        return counts | await self._told([number for number in numbers if number not in old])

    async def _told(self, numbers: Sequence[int]) -> dict[int, list[Count] | None]:
        places: dict[int, int] | None = None
        for need in self._needs:
            asked = numbers if places is None else [*places]
            places = both(places, await self._postings.places(need, asked))
        places = places or {}
        failed = await self._postings.places(_FAILED, places)
        values: dict[int, list[tuple[bytes, int]]] = {number: [] for number in places}
        for block, value, bits in await self._postings.values(self._field, places):
            values[block].append((value, bits))
        return {
            number: self._block(bits, failed.get(number, 0), values[number])
            for number, bits in places.items()
        }

    def _block(
        self, places: int, failed: int, values: list[tuple[bytes, int]]
    ) -> list[Count] | None:
        found: list[Count] = []
        for value, bits in values:
            if self._field == Field.RESOURCE and any(mark in value for mark in _LONGER):
                continue
            if count := (bits & places).bit_count():
                if len(value) == VALUE:
                    return None  # perhaps cut short
                found.append(
                    (_read(self._field, value), count, (bits & places & failed).bit_count())
                )
        missing = places.bit_count() - sum(count for _, count, _ in found)
        if not missing:
            return found
        if self._field == Field.CODE:
            return [*found, (None, missing, 0)]  # calls without an answer have no code
        return None


def _lacks(span: Span, removed: Sequence[tuple[str, int, int]]) -> bool:
    """Whether some of a block's events may be gone."""
    return any(
        span.writer == writer and span.oldest < high and span.newest >= low
        for writer, low, high in removed
    )


def _read(field: Field, value: bytes) -> str | int:
    return int(value) if field == Field.CODE else value.decode("utf-8", "surrogatepass")
