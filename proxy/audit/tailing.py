"""Following a journal that another thread or process may be writing.

Reads only; only complete, intact batches count. A segment is final once a later one exists: the
names are therefore listed before the segment is read, never after.
"""

from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import structlog

from proxy.audit.journal import (
    SegmentName,
    Trailer,
    intact,
    intact_after,
    last_trailer,
    parse_name,
    read_batch,
    read_header,
    segments,
)
from proxy.audit.rows import Row, rows
from proxy.audit.store import Position

_log = structlog.get_logger(__name__)

_CHUNK: Final = 4 * 1024 * 1024
"""Bytes read at a time; a batch that is larger is read whole."""
_FIRST_LINE: Final = 4096
START: Final = Position("", 0, 0)


class Step(NamedTuple):
    """What one look at a journal gave."""

    rows: list[Row]
    position: Position
    """Behind the rows."""
    rewind: int | None = None
    """The journal tells its records anew from this sequence on."""


class JournalTail:
    """The journal in one directory, from a position on."""

    def __init__(self, directory: Path, position: Position = START) -> None:
        self._directory = directory
        self.position = position
        self.writer = ""
        self._names: list[SegmentName] = []
        self._listed = 0

    def step(self) -> Step | None:
        """The next batches, at most about one chunk; None when there is nothing new.

        `position` moves only with `accept`. Raises OSError and CorruptJournalError.
        """
        here = self._here()
        while here is not None:
            following = self._following(here)
            found = self._read(here, final=following is not None)
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
        if changed != self._listed:
            self._names = segments([path.name for path in self._directory.iterdir()])
            self._listed = changed

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
        data = _chunk(file, offset)
        before = self.position.seq if rewind is None else rewind - 1
        step = self._batches(data, Position(path.name, offset, before), rewind)
        if step is None and final and intact_after(data, 0) is not None:
            _log.error("the rest of a damaged segment is not indexed", path=str(path), at=offset)
        return step

    def _batches(self, data: bytes, position: Position, rewind: int | None) -> Step | None:
        at, seq = 0, position.seq
        made: list[Row] = []
        while (found := read_batch(data, at)) is not None and intact(data, found):
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
        return Step(made, Position(position.segment, position.offset + at, seq), rewind)


def _chunk(file: BinaryIO, offset: int) -> bytes:
    """Bytes from `offset`: a chunk, or as much more as its first batch needs."""
    file.seek(offset)
    data = file.read(_CHUNK)
    size = _CHUNK
    while len(data) == size and data[-1] != 0 and read_batch(data, 0) is None:
        data += file.read(size)
        size *= 2
    return data


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
