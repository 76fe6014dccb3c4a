"""Bookmarks: which calls were open at the end of a finished segment.

Recovery must know the open calls, and they may have begun any number of segments ago. A bookmark
lets it begin behind the segment that it is for. It holds no record: one that is missing, damaged
or does not fit only means that more is read. `<epoch>-<number>.open` beside the segment:

    {"kind":"JournalBookmark","version":1,"writer":…,"epoch":…,"segment":…,"seq":…,"sha256":…}
    {"seq":…,…"stage":"RequestReceived",…}      the intent of each open call, as it was written
    {"kind":"End","sha256":"…"}                 over all bytes before it

`seq` and `sha256` are those of the segment's last batch; the next segment's header repeats them.
"""

import hashlib
import queue
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from proxy.audit.journal.open_calls import OpenCalls
from proxy.audit.journal.records import UNREADABLE, CorruptJournalError, SegmentName, read_header
from proxy.audit.journal.segments import Finished
from proxy.audit.journal.storage import Storage

_log = structlog.get_logger(__name__)

_VERSION: Final = 1
_NAME: Final = re.compile(r"(\d{6,})-(\d{6,})\.open")
_PIECE: Final = 256 * 1024
"""Bytes read at a time: the loop waits for as long as it takes to go through them."""
_PAUSE: Final = 0.001
"""Seconds between pieces, so that the loop and the disk stay with those who wait."""
_MOST_BEHIND: Final = 5
"""From so many segments behind on, pieces no longer get larger: they are 8 MiB then."""
_FIRST_LINE: Final = 4096
_SUFFIX_BYTES: Final = len(b'{"kind":"End","sha256":"') + 64 + len(b'"}\n')


class _Head(msgspec.Struct, frozen=True, tag_field="kind", tag="JournalBookmark"):
    version: int
    writer: str
    epoch: int
    segment: int
    seq: int
    sha256: str


_decode_head = msgspec.json.Decoder(_Head).decode


class Bookmark(NamedTuple):
    """What was open where a segment ends."""

    writer: str
    name: SegmentName
    seq: int
    sha256: str
    lines: list[bytes]
    """The intents of the open calls, oldest first."""


def bookmarks(names: list[str]) -> list[SegmentName]:
    """The segments that have a bookmark among `names`, in order."""
    found = (_NAME.fullmatch(name) for name in names)
    return sorted(SegmentName(int(match[1]), int(match[2])) for match in found if match)


def file_name(name: SegmentName) -> str:
    """The bookmark's file for a segment."""
    return f"{name.epoch:06}-{name.number:06}.open"


def encode(mark: Bookmark) -> bytes:
    """The bookmark as a file."""
    head = _Head(_VERSION, mark.writer, mark.name.epoch, mark.name.number, mark.seq, mark.sha256)
    body = b"\n".join([msgspec.json.encode(head), *mark.lines, b""])
    return body + _end(body)


def decode(data: bytes) -> Bookmark | None:
    """The bookmark in a file; None when it is not whole, or not one."""
    body = data[:-_SUFFIX_BYTES]
    if _end(body) != data[-_SUFFIX_BYTES:]:
        return None
    first, *lines = body.split(b"\n")[:-1]
    try:
        head = _decode_head(first)
    except UNREADABLE:
        return None
    if head.version != _VERSION:
        return None
    return Bookmark(
        head.writer, SegmentName(head.epoch, head.segment), head.seq, head.sha256, lines
    )


def _end(body: bytes) -> bytes:
    return b'{"kind":"End","sha256":"%b"}\n' % hashlib.sha256(body).hexdigest().encode()


class Bookmarks:
    """Makes a bookmark for each segment that a writer finishes, in a thread that takes its time.

    `finished` is called by the journal's thread, in the order of the segments.
    """

    def __init__(self, storage: Storage, directory: Path, writer: str) -> None:
        self._storage = storage
        self._directory = directory
        self._writer = writer
        self._open = OpenCalls()
        self._left: list[SegmentName] = []
        """Bookmarks that the next one supersedes."""
        self._finished: queue.SimpleQueue[Finished | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="bookmarks", daemon=True)

    def start(self) -> None:
        """Begin, once the epoch's first batch is durable: bookmarks of epochs before are void."""
        self._thread.start()

    def finished(self, segment: Finished) -> None:
        """A segment was finished."""
        self._finished.put(segment)

    def stop(self) -> None:
        """End the thread; what it was at is left undone."""
        self._stopping.set()
        self._finished.put(None)

    def join(self) -> None:
        """Wait for the thread's end, after `stop`."""
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        try:
            self._left = bookmarks(self._storage.names(self._directory))
            self._remove()
            while (segment := self._finished.get()) is not None:
                for _ in self.make(segment):
                    if self._stopping.wait(0 if self._behind else _PAUSE):
                        return
        except (OSError, CorruptJournalError) as error:
            # Without one segment, those behind it cannot be summed up either.
            _log.warning("no more bookmarks: a recovery would read more", error=str(error))

    @property
    def _behind(self) -> int:
        """How many finished segments wait for their turn; then there is more at a time, unpaused.

        Each would be read at a start after a kill. What is left to the loop is every other of the
        interpreter's turns (5 ms, `sys.getswitchinterval`), until this thread has caught up.
        """
        return min(self._finished.qsize(), _MOST_BEHIND)

    def make(self, segment: Finished) -> Iterator[None]:
        """Read the segment and write its bookmark, a piece at each step.

        Raises OSError and CorruptJournalError; then no later segment may be given.
        """
        yield from self._skim(segment)
        lines = list(self._open.lines.values())
        mark = Bookmark(self._writer, segment.name, segment.seq, segment.sha256, lines)
        try:
            self._write(mark)
        except OSError as error:  # a full disk: the next one may find room
            _log.warning("bookmark not written", error=str(error))
            return
        yield
        self._remove()
        self._left = [segment.name]

    def _write(self, mark: Bookmark) -> None:
        data = encode(mark)
        path = self._directory / file_name(mark.name)
        self._storage.remove(path)
        file = self._storage.create(path, len(data))
        try:
            file.write(data, 0)
            file.sync()
        finally:
            file.close()

    def _skim(self, segment: Finished) -> Iterator[None]:
        path = self._directory / str(segment.name)
        read = read_header(self._storage.read(path, 0, _FIRST_LINE))
        if read is None:
            raise CorruptJournalError(f"{path} has no header any more")
        header, at = read
        seq, size = header.first_seq, self._piece()
        while at < segment.end:
            data = self._storage.read(path, at, min(size, segment.end - at))
            end = data.rfind(b"\n") + 1
            if end:
                seq = self._open.skim(data, 0, end, seq).next_seq
                at, size = at + end, self._piece()
            elif len(data) == size:
                size *= 2  # one line is longer than a piece
            else:
                raise CorruptJournalError(f"{path} is shorter than it was")
            yield

    def _piece(self) -> int:
        return _PIECE << self._behind

    def _remove(self) -> None:
        for name in self._left:
            self._storage.remove(self._directory / file_name(name))
