"""The index compared with the journals, row for row: every row that is not what a journal says is named.

`serve` may go on meanwhile. A record is in its journal before it is in the index, so the journals
are read after the index; what is younger than the comparison is not looked at. Only what is certain
is a difference: records whose journal is not here are counted, and left to whoever has it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from proxy.audit.index.rows import Row
from proxy.audit.index.rows import row as row_of
from proxy.audit.index.walking import FIRST, Walk
from proxy.audit.journal.archive import Archive

LISTED: Final = 100_000
"""Differences, and writers without a journal, that are named one by one; more are counted."""

Progress = Callable[[str, int, int], None]
"""Told the step, how much of it is done, and of how much (bytes, or records)."""


class What(StrEnum):
    """What is wrong with a record of the index."""

    DIFFERENT = "different"
    """Its journal has another: the line, or a column beside it."""
    UNKNOWN = "unknown"
    """Its writer's journal is here, and has none such."""
    MISSING = "missing"
    """A journal has it, the index does not."""
    RESTORED = "restored"
    """It was missing, though later ones of its writer were there; now the index has it again."""


class Difference(NamedTuple):
    """One record of the index that is not what its journal says, or was not."""

    what: What
    writer: str
    seq: int
    columns: Sequence[str] = ()
    """Where it differs."""


class Unaccounted(NamedTuple):
    """Records of the index that the journals given say nothing about."""

    writer: str
    records: int
    before: int | None
    """The sequence with which its journal begins here; None when there is none of this writer."""


@dataclass
class Compared:
    """What the index holds beside what the journals say."""

    records: int = 0
    """In both, byte for byte."""
    counts: Counter[What] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    """The first LISTED of them."""
    unaccounted: list[Unaccounted] = field(default_factory=list)
    """The first LISTED of them."""
    unaccounted_writers: int = 0
    unaccounted_records: int = 0
    calls_put_right: int = 0
    """Calls that were listed as open and were not, or the other way round, and are no more."""
    calls_left: list[str] = field(default_factory=list)
    """The ids of those that still are."""

    @property
    def wrong(self) -> int:
        """How many records of the index are not what the journals say."""
        return self.counts.total() - self.counts[What.RESTORED]

    @property
    def equal(self) -> bool:
        """Whether the index holds what the journals do, as far as they say."""
        return not (self.wrong or self.calls_left)

    def found(self, what: What, writer: str, seq: int, columns: Sequence[str] = ()) -> None:
        """Take down one difference."""
        self.counts[what] += 1
        if len(self.differences) < LISTED:
            self.differences.append(Difference(what, writer, seq, columns))

    def says_nothing(self, writer: str, records: int, before: int | None = None) -> None:
        """Take down records about which the journals say nothing."""
        if not records:
            return
        self.unaccounted_writers += 1
        self.unaccounted_records += records
        if len(self.unaccounted) < LISTED:
            self.unaccounted.append(Unaccounted(writer, records, before))


class Gone:
    """Days of each writer that a retention removed from the index: they stay away."""

    def __init__(self, spans: Mapping[str, Sequence[tuple[int, int]]]) -> None:
        self._spans = spans

    def has(self, row: Row) -> bool:
        """Whether `row` is of such a day."""
        return any(low <= row.at < high for low, high in self._spans.get(row.writer, ()))


async def compare(
    walk: Walk,
    directories: Sequence[Path],
    ends: Mapping[str, int],
    gone: Gone,
    compared: Compared,
    progress: Progress,
    equal: Callable[[Row], None] = lambda _: None,
) -> None:
    """Compare every row of the index with the journals below `directories`, into `compared`.

    Each writer of `ends` is looked at; up to its sequence there its records must be in the index,
    but for those that are `gone`. `equal` is told each row that is as its journal has it.
    """
    # First how far the index goes: by then all of it is in the journals that are listed next.
    tops = {writer: await walk.last(writer) for writer in ends}
    archive = Archive(directories)
    for writer, end in sorted(ends.items()):
        lines = _Lines(directories, archive, writer)
        one = _Writer(writer, lines, end, gone, compared, equal)
        begins = min((segment.first_seq for segment in archive.segments(writer)), default=1)
        compared.says_nothing(writer, await walk.count(writer, 1, begins - 1), begins)
        # No sequence is below 1; what stands there has no place before the journal's beginning.
        for first, last in ((FIRST, 0), (begins, tops[writer])):
            async for page in walk.pages(writer, first, last):
                lines.may_have_grown()
                for row in page:
                    one.take(row)
                progress("compared", compared.records, 0)
        one.end()
    here = {*ends, *archive.writers}
    async for writer in walk.writers():
        if writer not in here:
            compared.says_nothing(writer, await walk.count(writer))


class _Lines:
    """The lines of one writer's journals in order, and one ahead."""

    def __init__(self, directories: Sequence[Path], archive: Archive, writer: str) -> None:
        self._directories = directories
        self._writer = writer
        self._lines: Iterator[tuple[int, bytes]] = archive.lines(writer)
        self._ahead = next(self._lines, None)
        self._look_again = False

    def may_have_grown(self) -> None:
        """Rows were read that may be younger than the journals when they were listed."""
        self._look_again = True

    def below(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """Those that were not told and come before `seq`."""
        while self._ahead is not None and self._ahead[0] < seq:
            yield self._ahead
            self._ahead = next(self._lines, None)

    def at(self, seq: int) -> bytes | None:
        """The line of `seq`, when everything below it was told."""
        if self._ahead is None and self._look_again:
            self._look_again = False
            self._lines = Archive(self._directories).lines(self._writer, seq)
            self._ahead = next(self._lines, None)
        if self._ahead is None or self._ahead[0] != seq:
            return None
        line = self._ahead[1]
        self._ahead = next(self._lines, None)
        return line


class _Writer:
    """One writer's rows, taken in order, beside its lines."""

    def __init__(
        self,
        writer: str,
        lines: _Lines,
        end: int,
        gone: Gone,
        compared: Compared,
        equal: Callable[[Row], None],
    ) -> None:
        self._equal = equal
        self._writer = writer
        self._lines = lines
        self._end = end
        self._gone = gone
        self._compared = compared
        self._seq = FIRST - 1
        self._expected: Row | None = None
        """Of the present sequence, as its journal has it."""
        self._matched = False
        self._differs: Sequence[str] = ()
        """Where the first row of this sequence differs that is another."""

    def take(self, row: Row) -> None:
        """Take the next row. Of several under one sequence the true one counts, wherever it stands."""
        if row.seq != self._seq:
            self._close()
            self._open(row.seq)
        if self._expected is not None and row == self._expected and not self._matched:
            self._matched = True
            self._compared.records += 1
            self._equal(row)
        elif self._expected is None or self._differs or row == self._expected:
            self._found(What.UNKNOWN)
        else:
            self._differs = _differing(row, self._expected)

    def end(self) -> None:
        """There are no more rows: what the journals have beyond them is missing."""
        self._close()
        self._miss(self._lines.below(self._end + 1))

    def _open(self, seq: int) -> None:
        self._seq = seq
        self._miss(self._lines.below(seq))
        line = self._lines.at(seq)
        self._expected = None if line is None else row_of(self._writer, seq, line)

    def _close(self) -> None:
        if self._differs:
            what = What.UNKNOWN if self._matched else What.DIFFERENT
            self._found(what, () if self._matched else self._differs)
        self._matched, self._differs = False, ()

    def _miss(self, lines: Iterator[tuple[int, bytes]]) -> None:
        for seq, line in lines:
            # What is younger than our filling may be on its way.
            if seq <= self._end and not self._gone.has(row_of(self._writer, seq, line)):
                self._compared.found(What.MISSING, self._writer, seq)

    def _found(self, what: What, columns: Sequence[str] = ()) -> None:
        self._compared.found(what, self._writer, self._seq, columns)


def _differing(row: Row, expected: Row) -> Sequence[str]:
    both = zip(Row._fields, row, expected, strict=True)
    return tuple(name for name, has, should in both if has != should)
