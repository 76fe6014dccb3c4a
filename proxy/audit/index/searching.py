"""Finding events block by block, in order of time, without looking at more of them than needed.

The postings of the blocks (`proxy.audit.index.blocks`) say where a filter may find something. Those
events, and the newest ones, which are in no block yet, are compared with the filter itself.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import and_, false, or_
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.audit.index.blocks import (
    BLOCK,
    RUNS,
    part_places,
    parts_by_run,
    whole_runs,
)
from proxy.audit.index.grams import places_with, wanted_slots
from proxy.audit.index.narrowing import needs
from proxy.audit.index.places import Part, Place, Question, at_places
from proxy.audit.index.postings import Postings, Span, both
from proxy.audit.index.query import Cursor, Filter, parse
from proxy.audit.index.rows import Row
from proxy.audit.index.schema import events, run_key
from proxy.audit.index.selects import Condition, finished, open_calls_at, page

_FIRST_STEP: Final = 3
_GROWTH: Final = 6
_LONGEST_STEP: Final = 512
"""Blocks looked at together; more each time, as long as not enough is found."""
_FEW: Final = 500
"""Places that are compared with the filter rather than narrowed down further."""
_FEW_TEXTS: Final = 8
"""Events of a run that are compared one by one rather than through the run's texts."""
_MOST: Final = 4000
"""Events that one statement is asked for."""
_MANY: Final = 4
"""From one in so many events on, all of a stretch are compared."""
_IN_VAIN: Final = 2
"""Pieces of a text, one after the other, that left most runs: then the text may be frequent."""
_NOT_MANY: Final = 8_000
"""Places that may as well be compared with a text that may be frequent."""
_MOST_OF_THEM: Final = 0.9
_EVERY_RUN: Final = (1 << RUNS) - 1
_DAY: Final = 86_400_000_000
"""µs."""
_DAYS: Final = 7
_OLDER: Final = -1
"""What stands for all days but the newest ones that have open calls."""
_ALWAYS: Final = 2**63 - 1

T = TypeVar("T")


class Candidates(NamedTuple):
    """Events of one run of a block among which the filter may find some."""

    writer: str
    run: int
    """See `schema.run_key`."""
    first: int
    """Sequence of the run's first place."""
    oldest: int
    newest: int
    part: int
    """Their places in the run, as bits."""


class Window(NamedTuple):
    """Times that count, µs since the epoch, both inclusive."""

    since: int
    until: int

    def meets(self, oldest: int, newest: int) -> bool:
        """Whether any time from `oldest` to `newest` counts."""
        return oldest <= self.until and newest >= self.since


class Finder:
    """One look for finished events, on a connection that sees one state of the index."""

    def __init__(self, connection: AsyncConnection, given: Filter) -> None:
        self._connection = connection
        self._postings = Postings(connection)
        self._partitioned = connection.dialect.name == "postgresql"
        self._given = given
        self._needs = needs(given)
        self._text = parse(given).text
        self._slots = wanted_slots(self._text) if self._text else []

    async def page(self, limit: int, cursor: Cursor | None, *, oldest_first: bool) -> list[Row]:
        """The first events behind `cursor`, in order, at most `limit`."""
        found = _Found(limit, oldest_first=oldest_first)

        chosen = finished(self._given, *events.c)
        statement = page(chosen, limit=limit, cursor=cursor, oldest_first=oldest_first)
        question = Question(self._connection, statement)

        async def look(part: Part) -> None:
            found.add(Row._make(row) for row in await question.of(part))

        spans, newest = await self._spans()
        await look(Part(newest))
        times = window(self._given, cursor, oldest_first=oldest_first)
        left = [span for span in spans if times.meets(span.oldest, span.newest)]
        left.sort(key=found.age)
        waiting: list[Candidates] = []
        async for few in self._likely(left, times, found):
            waiting += few
            # A text leaves few of many: they are asked for once they may be enough.
            if _events(waiting) >= found.lacking:
                await look(_at(waiting, partitioned=self._partitioned))
                waiting = []
        if waiting:
            await look(_at(waiting, partitioned=self._partitioned))
        return found.rows

    async def _likely(
        self, spans: Sequence[Span], times: Window, found: "_Found"
    ) -> AsyncIterator[list[Candidates]]:
        """What the blocks leave, in order, until enough is found."""
        for step in _growing(spans, _FIRST_STEP):
            if found.enough_before(step[0]):
                return
            candidates = sorted(await self._candidates(step, times), key=found.age)
            for few in _portions(candidates, found.limit * 2):
                if found.enough_before(few[0]):
                    break
                if few := await self._with_text(few):
                    yield few

    async def parts(self) -> AsyncIterator[Part]:
        """Parts that have no event in common, and every event that the filter finds in one."""
        spans, newest = await self._spans()
        yield Part(newest)
        times = window(self._given)
        left = [span for span in spans if times.meets(span.oldest, span.newest)]
        left.sort(key=lambda span: (span.writer, span.first))
        if not self._text and len(self._needs) == 1:
            if left:
                yield Part(stretch(left))
            return
        for step in _growing(left, _LONGEST_STEP):
            candidates = await self._candidates(step, times)
            if _events(candidates) > len(step) * BLOCK // _MANY:
                yield Part(stretch(step))
                continue
            for few in _portions(candidates, _MOST):
                if few := await self._with_text(few):
                    yield _at(few, partitioned=self._partitioned)

    async def _spans(self) -> tuple[list[Span], Condition]:
        """All blocks, and what is in none of them yet."""
        spans, ends = await self._postings.spans()
        return spans, tail(ends)

    async def _candidates(self, spans: Sequence[Span], counts: Window) -> list[Candidates]:
        places = await self._places([span.number for span in spans])
        times = await self._postings.times(places)
        found = []
        for span in spans:
            if span.number not in places:
                continue
            of_runs = times[span.number]
            for run, first, part in parts_by_run(places[span.number]):
                if counts.meets(*of_runs[run]):
                    key = run_key(span.number, run)
                    found.append(
                        Candidates(span.writer, key, span.first + first, *of_runs[run], part)
                    )
        return found

    async def _places(self, numbers: list[int]) -> dict[int, int]:
        """By block, the places that the postings leave; blocks without any are left out."""
        left: dict[int, int] | None = None
        for need in self._needs:
            if left is not None and _few(left):
                return left
            left = both(left, await self._postings.places(need, numbers if left is None else left))
        if left is None or not self._slots or _few(left):
            return left or {}
        words = dict.fromkeys(left, _EVERY_RUN)
        in_vain, not_many = 0, _count(left) <= _NOT_MANY
        for piece in self._slots:
            if not words or (in_vain == _IN_VAIN and not_many):
                break
            before = _count(words)
            words = both(words, await self._postings.runs_with(piece, words))
            in_vain = in_vain + 1 if _count(words) > before * _MOST_OF_THEM else 0
        return both(left, {block: whole_runs(word) for block, word in words.items()})

    async def _with_text(self, candidates: list[Candidates]) -> list[Candidates]:
        """Only those in whose texts the free text stands."""
        if not self._text or _events(candidates) <= _FEW_TEXTS * len(candidates):
            return candidates
        found = await self._postings.texts(one.run for one in candidates)
        places = {run: places_with(texts, self._text) for run, texts in found}
        left = (one._replace(part=one.part & places.get(one.run, 0)) for one in candidates)
        return [one for one in left if one.part]


async def open_parts(connection: AsyncConnection, given: Filter) -> list[Part]:
    """Parts that share out among them the latest events of open calls.

    A join would leave it to a planner that does not know how few they are; so they are read
    first, and asked for day by day, as a partitioned table likes it.
    """
    days: defaultdict[int, list[Place]] = defaultdict(list)
    for writer, seq, at in await connection.execute(open_calls_at(given)):
        day = at // _DAY if at // _DAY in days or len(days) < _DAYS else _OLDER
        days[day].append(Place(writer, seq, at, at))
    partitioned = connection.dialect.name == "postgresql"
    return [at_places(some, partitioned=partitioned, timed=True) for some in days.values()]


class _Found:
    """Rows found so far, in order, and when they are enough."""

    def __init__(self, limit: int, *, oldest_first: bool) -> None:
        self.rows: list[Row] = []
        self.limit = limit
        self._oldest_first = oldest_first

    @property
    def lacking(self) -> int:
        """Rows that are missing to the limit."""
        return self.limit - len(self.rows)

    def age(self, of: Span | Candidates) -> int:
        """Sorts what may hold the next rows first; rows in it are not before that."""
        return of.oldest if self._oldest_first else -of.newest

    def enough_before(self, of: Span | Candidates) -> bool:
        """Whether nothing in `of`, nor in anything behind it, is wanted any more."""
        if len(self.rows) < self.limit:
            return False
        last = self.rows[-1].at
        return (last if self._oldest_first else -last) < self.age(of)

    def add(self, rows: Iterable[Row]) -> None:
        """Take more rows; those beyond the limit fall off."""
        together = sorted([*self.rows, *rows], key=Cursor.of, reverse=not self._oldest_first)
        self.rows = together[: self.limit]


def window(given: Filter, cursor: Cursor | None = None, *, oldest_first: bool = False) -> Window:
    """The times that a filter leaves, behind `cursor`."""
    since = given.since if given.since is not None else -_ALWAYS
    until = given.until - 1 if given.until is not None else _ALWAYS
    if cursor is not None and oldest_first:
        since = max(since, cursor.at)
    elif cursor is not None:
        until = min(until, cursor.at)
    return Window(since, until)


def _growing(items: Sequence[T], first: int) -> Iterator[Sequence[T]]:
    at, size = 0, first
    while at < len(items):
        yield items[at : at + size]
        at, size = at + size, min(size * _GROWTH, _LONGEST_STEP)


def _portions(candidates: Sequence[Candidates], first: int) -> Iterator[list[Candidates]]:
    """Candidates in portions of about `first` events, and more each time."""
    portion: list[Candidates] = []
    count, size = 0, first
    for some in candidates:
        portion.append(some)
        count += some.part.bit_count()
        if count >= size:
            yield portion
            portion, count, size = [], 0, min(size * 2, _MOST)
    if portion:
        yield portion


def _at(candidates: Sequence[Candidates], *, partitioned: bool) -> Part:
    """Only these events."""
    places = [
        Place(one.writer, one.first + place, one.oldest, one.newest)
        for one in candidates
        for place in part_places(one.part)
    ]
    return at_places(places, partitioned=partitioned)


def tail(ends: dict[str, int]) -> Condition:
    """The events of each writer from a sequence on."""
    column = events.c
    each = [and_(column.writer == writer, column.seq >= end) for writer, end in ends.items()]
    return or_(false(), *each)


def stretch(spans: Iterable[Span]) -> Condition:
    """All events of these blocks, and of those between them of the same writers."""
    of_writer: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        of_writer[span.writer].append(span)
    column = events.c
    return or_(
        *(
            and_(
                column.writer == writer,
                column.seq >= min(span.first for span in some),
                column.seq < max(span.first for span in some) + BLOCK,
                column.at.between(
                    min(span.oldest for span in some), max(span.newest for span in some)
                ),
            )
            for writer, some in of_writer.items()
        )
    )


def _events(candidates: Iterable[Candidates]) -> int:
    return sum(some.part.bit_count() for some in candidates)


def _few(places: dict[int, int]) -> bool:
    return _count(places) <= _FEW


def _count(places: dict[int, int]) -> int:
    return sum(bits.bit_count() for bits in places.values())
