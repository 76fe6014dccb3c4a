"""Saving what stands in a segment that somebody deleted, replaced or cut while it was written.

The open descriptor still has what was acknowledged, so it is put back where readers look for it:

* deleted or moved: a copy takes the name again;
* replaced: the other file is evidence and stays; the copy becomes the next segment, whose header
  says that it `replaces` the other (recovery and the tail then look past that one);
* cut: the file stands at its place, and is cut once more, behind the last whole batch. What stood
  after that is gone, and the caller says so in the record.

Blocking; belongs to the journal's thread.
"""

from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from proxy.audit.journal.records import (
    CorruptJournalError,
    Header,
    SegmentName,
    intact_after,
    last_trailer,
    line,
    read_header,
    sound,
)
from proxy.audit.journal.reserve import FULL, Reserve
from proxy.audit.journal.storage import SegmentFile, Storage

_PIECE: Final = 1024 * 1024
_DRAFT: Final = "rescue"


class Lost(NamedTuple):
    """A segment that is no longer the file at its path."""

    file: SegmentFile
    name: SegmentName
    first: int
    """The sequence its records begin with."""
    end: int
    """Where its durable batches end."""


class Rescued(NamedTuple):
    """What became of it."""

    lost: SegmentName
    name: SegmentName
    """Where its records stand now."""
    end: int
    """Where they end in that file."""
    first: int
    last: int
    """Sequences it has; less than `first` when it has none."""
    sha256: str
    """The checksum of its last batch."""
    missing: tuple[int, int] | None = None
    """Acknowledged records (first, last) that nobody has any more."""

    def __str__(self) -> str:
        records = f"records {self.first}-{self.last}" if self.last >= self.first else "no record"
        return f"{self.lost}: {records} saved in {self.name}"


def rescue(
    storage: Storage,
    directory: Path,
    lost: Lost,
    *,
    last: int,
    spare: SegmentName,
    reserve: Reserve,
) -> Rescued:
    """Put the batches of `lost` back; `last` is the last sequence that was acknowledged.

    A copy that cannot have the name of `lost` is made as the segment `spare`; one that finds no
    room takes the `reserve`. Raises OSError; then the same may be tried again.
    """
    data = _content(lost)
    read = _header(data)
    end = sound(data, read[1]) if read is not None else 0
    damaged = intact_after(data, end) is not None  # no cut leaves that; see recovery
    data = data[:end]
    trailer = last_trailer(data)
    saved = trailer.last if trailer is not None else lost.first - 1
    name = lost.name
    if not lost.file.misplaced(0):
        if not damaged:
            lost.file.truncate(end)
            lost.file.sync()
    elif read is not None:
        if str(name) in storage.names(directory):
            name = spare
            head = msgspec.structs.replace(read[0], segment=spare.number, replaces=lost.name.number)
            data = line(head) + data[read[1] :]
        _copy(storage, directory / str(name), data, reserve)
    return Rescued(
        lost.name,
        name,
        len(data),
        lost.first,
        saved,
        trailer.sha256 if trailer is not None else "",
        (saved + 1, last) if saved < last else None,
    )


def gone(lost: Lost, *, last: int) -> Rescued:
    """Nothing could be saved."""
    return Rescued(lost.name, lost.name, 0, lost.first, lost.first - 1, "", (lost.first, last))


def _header(data: bytes) -> tuple[Header, int] | None:
    try:
        return read_header(data)
    except CorruptJournalError:
        return None


def _content(lost: Lost) -> bytes:
    """The bytes that were durable, as far as they are still there."""
    pieces: list[bytes] = []
    at = 0
    while at < lost.end:
        piece = lost.file.read(at, min(_PIECE, lost.end - at))
        if not piece:
            break
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def _copy(storage: Storage, path: Path, data: bytes, reserve: Reserve) -> None:
    """Make `data` the segment at `path`, durable, all of it or nothing."""
    draft = path.with_name(_DRAFT)
    storage.remove(draft)
    file = _draft(storage, draft, len(data), reserve)
    try:
        for at in range(0, len(data), _PIECE):
            file.write(data[at : at + _PIECE], at)
        file.truncate(len(data))
        file.sync()
    finally:
        file.close()
    storage.rename(draft, path)
    storage.sync_directory(path.parent)


def _draft(storage: Storage, draft: Path, size: int, reserve: Reserve) -> SegmentFile:
    try:
        return storage.create(draft, size)
    except OSError as error:
        if error.errno not in FULL or not reserve.offer(size):
            raise
    storage.rename(reserve.path, draft)
    reserve.taken()
    storage.sync_directory(draft.parent)  # or a power cut makes it the reserve again, with records
    return storage.open(draft)
