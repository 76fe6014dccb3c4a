"""Journals that nobody writes any more, or copies of them: every record in order, read plainly.

For whoever has to show that a record is still there: rebuilding the index, and the check before
old records leave it. Reads whole segments and trusts only complete, intact batches.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import Final

from proxy.audit.journal.records import (
    CorruptJournalError,
    SegmentName,
    intact,
    parse_name,
    read_batch,
    read_header,
    record_lines,
)

_FIRST_LINE: Final = 4096


@dataclass(frozen=True, slots=True, order=True)
class ArchivedSegment:
    """One segment file, by the place it has in its writer's order."""

    name: SegmentName
    first_seq: int
    path: Path = field(compare=False)


class Archive:
    """All segments below some directories, whatever their layout, by writer.

    Several copies of one segment may be there; the longest counts, and equal ones are the same.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        found: dict[tuple[str, SegmentName], ArchivedSegment] = {}
        for directory in directories:
            for path in sorted(directory.rglob("*.jsonl")):
                _add(found, path)
        self._by_writer: defaultdict[str, list[ArchivedSegment]] = defaultdict(list)
        for (writer, _), segment in found.items():
            self._by_writer[writer].append(segment)
        for segments in self._by_writer.values():
            segments.sort()

    @property
    def writers(self) -> list[str]:
        """Every writer of whom there is a segment, by name."""
        return sorted(self._by_writer)

    def segments(self, writer: str) -> Sequence[ArchivedSegment]:
        """The segments of `writer`, in its order."""
        return tuple(self._by_writer.get(writer, ()))

    def lines(self, writer: str, first: int = 1) -> Iterator[tuple[int, bytes]]:
        """(sequence, line) of `writer`'s records from sequence `first` on, in order.

        A later segment's own beginning overrules what the one before it holds from there on (see
        `proxy.audit.journal.records`). Sequences that are nowhere are passed over: the caller sees the gap.
        Raises OSError when a segment cannot be read.
        """
        segments = self._by_writer.get(writer, [])
        # What any later segment tells anew is not told by one before it.
        anew = [*accumulate((later.first_seq for later in reversed(segments)), min)][-2::-1]
        for segment, end in zip_longest(segments, anew):
            if end is not None and end <= first:
                continue
            for seq, line in _records(segment.path):
                if end is not None and seq >= end:
                    break
                if seq >= first:
                    yield seq, line


def _add(found: dict[tuple[str, SegmentName], ArchivedSegment], path: Path) -> None:
    name = parse_name(path.name)
    if name is None:
        return
    with path.open("rb") as file:
        try:
            read = read_header(file.read(_FIRST_LINE))
        except CorruptJournalError:
            return  # its records are missing, and whoever looks for them is told so
    if read is None:
        return
    header = read[0]
    known = found.get((header.writer, name))
    if known is None or known.path.stat().st_size < path.stat().st_size:
        found[header.writer, name] = ArchivedSegment(name, header.first_seq, path)


def _records(path: Path) -> Iterator[tuple[int, bytes]]:
    data = path.read_bytes()
    read = read_header(data)
    position = read[1] if read is not None else len(data)
    while (batch := read_batch(data, position)) is not None and intact(data, batch):
        yield from record_lines(data, batch)
        position = batch.next
