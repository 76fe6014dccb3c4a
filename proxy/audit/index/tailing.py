"""Following a journal that another thread or process may be writing.

Reads only; only complete, intact batches count. A segment is final once a later one exists: the
names are therefore listed before the segment is read, never after.

What can be read need not be durable: a batch stands in the page cache before its sync ends, and a
power cut may still take it and give its sequences to others. For a copy that outlives this
machine, a tail therefore syncs what it has read before it hands it on. In the writer's own process
it asks the writer instead: after a sync that failed there, one here would succeed and mean nothing.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import structlog

from proxy.audit.index.rows import Row, rows
from proxy.audit.index.store import Position
from proxy.audit.journal.records import (
    CorruptJournalError,
    SegmentName,
    Trailer,
    intact,
    intact_after,
    last_trailer,
    parse_name,
    read_batch,
    read_header,
    record_lines,
    segments,
)
from proxy.clock import SystemClock

_log = structlog.get_logger(__name__)

_CHUNK: Final = 4 * 1024 * 1024
"""Bytes read at a time; a batch that is larger is read whole."""
_PIECE: Final = 64 * 1024
"""Bytes read first: near the end of a journal that is all there is."""
_FIRST_LINE: Final = 4096
_TICK: Final = 1.0
"""Seconds in which two changes of a directory may show the same time, with much to spare."""
_WALL: Final = SystemClock()
"""What file times are compared with; they are the machine's, whatever clock a test has."""
START: Final = Position("", 0, 0)


class Step(NamedTuple):
    """What one look at a journal gave."""

    rows: list[Row]
    position: Position
    """Behind the rows."""
    rewind: int | None = None
    """The journal tells its records anew from this sequence on."""
    more: bool = False
    """There was more to read than one step takes."""


class JournalTail:
    """The journal in one directory, from a position on.

    With `sync`, rows are handed on only when they are durable. `durable` says so itself: the last
    sequence that the writer, of this process, has acknowledged; then nothing is synced. `chunk` is
    how many bytes one step reads at most, unless its first batch is larger.
    """

    def __init__(
        self,
        directory: Path,
        position: Position = START,
        *,
        sync: bool = False,
        durable: Callable[[], int] | None = None,
        chunk: int = _CHUNK,
    ) -> None:
        self._directory = directory
        self._sync = sync and durable is None
        self._durable = durable
        self._chunk = chunk
        self.position = position
        self.writer = ""
        self._names: list[SegmentName] = []
        self._replaced: set[SegmentName] = set()
        self._listed = 0

    def step(self) -> Step | None:
        """The next batches, at most about one chunk; None when there is nothing new.

        `position` moves only with `accept`. Raises OSError and CorruptJournalError.
        """
        here = self._here()
        while here is not None:
            following = self._following(here)
            replaced = here in self._replaced
            found = None if replaced else self._read(here, final=following is not None)
            if found is not None or following is None:
                return found
            here = following
            self.position = Position(str(following), 0, self.position.seq)
        return None

    def accept(self, step: Step) -> None:
        """Go on behind `step`."""
        self.position = step.position

    def last(self) -> int:
        """The last sequence the journal has; 0 when it has none."""
        names = segments([path.name for path in self._directory.iterdir()])
        for name in reversed(names):
            trailer = newest(self._directory / str(name))
            if trailer is not None:
                return trailer.last
        return 0

    def _here(self) -> SegmentName | None:
        """The segment our position is in, or the first one."""
        self._list()
        if self.position.segment:
            return parse_name(self.position.segment)
        return self._names[0] if self._names else None

    def _list(self) -> None:
        """Look for new segments; their creation shows in the directory's own time."""
        changed = self._directory.stat().st_mtime_ns
        if changed == self._listed:
            return
        settled = _WALL.now() - changed / 1e9 > _TICK
        names = segments([path.name for path in self._directory.iterdir()])
        known = self._names[-1] if self._names else parse_name(self.position.segment)
        new = [name for name in names if known is None or name > known]
        self._replaced |= replaced(self._directory, new)
        self._names = names
        # Before Linux 6.13 the time moves in ticks: what is made later in this one does not show.
        self._listed = changed if settled else 0

    def _following(self, here: SegmentName) -> SegmentName | None:
        return next((name for name in self._names if name > here), None)

    def _read(self, here: SegmentName, *, final: bool) -> Step | None:
        path = self._directory / str(here)
        try:
            with path.open("rb") as file:
                return self._open(file, path, final=final)
        except FileNotFoundError:
            if final:
                _log.error("journal segment is missing", path=str(path))
            return None

    def _open(self, file: BinaryIO, path: Path, *, final: bool) -> Step | None:
        offset, rewind = self.position.offset, None
        if offset == 0 or not self.writer:
            read = read_header(file.read(_FIRST_LINE))
            if read is None:
                return None
            header, body_at = read
            self.writer = header.writer
            if offset == 0:
                offset = body_at
                rewind = header.first_seq if header.first_seq <= self.position.seq else None
        data = _chunk(file, offset, self._chunk)
        before = self.position.seq if rewind is None else rewind - 1
        step = self._batches(data, Position(path.name, offset, before), rewind)
        if self._sync and step is not None:
            self._make_durable(file, begins=self.position.offset == 0)
        if step is None and final and intact_after(data, 0) is not None:
            _log.error("the rest of a damaged segment is not indexed", path=str(path), at=offset)
        return step

    def _make_durable(self, file: BinaryIO, *, begins: bool) -> None:
        os.fdatasync(file.fileno())
        if begins:  # its name may be as new as its records
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _batches(self, data: bytes, position: Position, rewind: int | None) -> Step | None:
        at, seq = 0, position.seq
        made: list[Row] = []
        # Asked after the names were listed: once there is a later segment, all of this one that
        # ever will be is acknowledged.
        limit = self._durable() if self._durable is not None else None
        while (found := read_batch(data, at)) is not None and intact(data, found):
            if limit is not None and found.trailer.last > limit:
                break
            if found.trailer.first != seq + 1:
                _log.error(
                    "records are missing in a journal",
                    writer=self.writer,
                    first=seq + 1,
                    last=found.trailer.first - 1,
                )
            made += rows(self.writer, data, found)
            at, seq = found.next, found.trailer.last
        if not made:
            return None
        position = Position(position.segment, position.offset + at, seq)
        return Step(made, position, rewind, more=len(data) >= self._chunk)


def replaced(directory: Path, names: Iterable[SegmentName]) -> set[SegmentName]:
    """The segments that one of `names` replaces: what stands there is somebody else's file."""
    found = set()
    for name in names:
        with contextlib.suppress(FileNotFoundError, CorruptJournalError):
            with (directory / str(name)).open("rb") as file:
                read = read_header(file.read(_FIRST_LINE))
            if read is not None and read[0].replaces:
                found.add(SegmentName(name.epoch, read[0].replaces))
    return found


def _chunk(file: BinaryIO, offset: int, size: int) -> bytes:
    """`size` bytes from `offset`, or as much more as the first batch needs.

    Fewer where the zeros begin that a segment is preallocated with.
    """
    file.seek(offset)
    data = file.read(min(size, _PIECE))
    if len(data) == _PIECE < size and data[-1] != 0:
        data += file.read(size - _PIECE)
    while len(data) == size and data[-1] != 0 and read_batch(data, 0) is None:
        data += file.read(size)
        size *= 2
    return data


class Place(NamedTuple):
    """Where a sequence stands in a journal."""

    position: Position
    """Where a tail goes on behind it."""
    line: bytes | None
    """Of the sequence itself; None when the journal does not hold it."""
    beyond: bool
    """The journal has no such sequence, though it has some before it."""


def seek(directory: Path, seq: int) -> Place:
    """Find sequence `seq` in a journal, where it was told last.

    Records that were taken away from the journal's beginning are not looked for. Raises OSError
    and CorruptJournalError.
    """
    skipped: set[SegmentName] = set()
    for name in reversed(segments([path.name for path in directory.iterdir()])):
        path = directory / str(name)
        if name in skipped:
            continue
        with path.open("rb") as file:
            read = read_header(file.read(_FIRST_LINE))
        if read is not None and read[0].replaces:
            skipped.add(SegmentName(name.epoch, read[0].replaces))
        if read is not None and read[0].first_seq <= seq:
            return _within(path, read[1], seq)
    return Place(Position("", 0, seq), None, beyond=False)


def _within(path: Path, offset: int, seq: int) -> Place:
    data = path.read_bytes()
    while (found := read_batch(data, offset)) is not None:
        trailer = found.trailer
        if trailer.first <= seq <= trailer.last:
            line = next(line for number, line in record_lines(data, found) if number == seq)
            if seq == trailer.last:
                return Place(Position(path.name, found.next, seq), line, beyond=False)
            # What follows in the batch is not there yet, so all of it is told again.
            return Place(Position(path.name, found.start, trailer.first - 1), line, beyond=False)
        offset = found.next
    return Place(START, None, beyond=True)


def writer_of(directory: Path) -> str:
    """Who writes the journal in `directory`; empty while no segment has a header.

    Raises OSError and CorruptJournalError.
    """
    for name in reversed(segments([path.name for path in directory.iterdir()])):
        with (directory / str(name)).open("rb") as file:
            read = read_header(file.read(_FIRST_LINE))
        if read is not None:
            return read[0].writer
    return ""


def newest(path: Path) -> Trailer | None:
    """The last complete trailer of a segment, found without reading all of it."""
    with path.open("rb") as file:
        low, high = 0, file.seek(0, 2)
        while low < high:  # records hold no zero byte, and the preallocated rest nothing else
            middle = (low + high) // 2
            file.seek(middle)
            if file.read(1) == b"\0":
                high = middle
            else:
                low = middle + 1
        start = max(0, low - _CHUNK)
        file.seek(start)
        return last_trailer(file.read(low - start))
