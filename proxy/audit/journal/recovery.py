"""Opening a journal that another process left, or lost.

What a writer can leave by dying at any instant is a torn tail: the last batch of its last segment,
unfinished. That is cut. Damage in front of something whole is not a tail, and we refuse to build
on it. Records that are missing altogether (a segment was deleted) are reported, not invented.

The first batch of an epoch closes every call the epochs before it left open and says what was
found, so only the epochs since the last one that has a batch need to be read, from its newest
bookmark on (`proxy.audit.journal.bookmark`), and a sealed one not even that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final

from proxy.audit.event import (
    CloseReason,
    Progress,
    ResponseStatus,
    Stage,
    SystemEvent,
    body,
    new_id,
    stage,
)
from proxy.audit.journal.bookmark import bookmarks, decode, file_name
from proxy.audit.journal.open_calls import OpenCalls
from proxy.audit.journal.records import (
    GENESIS,
    CorruptJournalError,
    Header,
    SegmentName,
    intact,
    intact_after,
    last_batch,
    last_trailer,
    read_batch,
    read_header,
    read_seal,
    sealed,
    segments,
    sound,
)
from proxy.audit.journal.storage import Storage
from proxy.clock import rfc3339

_FIRST_LINE: Final = 4096
_PIECE: Final = 8 * 1024 * 1024
"""Bytes of an older segment read at a time."""


@dataclass(slots=True)
class Recovered:
    """What a journal's directory held, and where its next epoch begins."""

    epoch: int = 1
    next_seq: int = 1
    prev: str = GENESIS
    clean: bool = True
    """Nothing was there, or the last epoch was sealed."""
    cut_bytes: int = 0
    """Length of the torn tail that was cut."""
    missing: list[tuple[int, int]] = field(default_factory=list)
    """Sequences (first, last) that should be there and are not."""
    open_calls: dict[bytes, bytes] = field(default_factory=dict)
    """Audit id → line of the intent, for each call without an outcome."""


def recover(storage: Storage, directory: Path, writer: str) -> Recovered:
    """Read what is there, cut the torn tail, and make durable what is kept.

    Raises CorruptJournalError when it is damaged or another writer's, OSError when it cannot be
    read or cut.
    """
    listed = storage.names(directory)
    found, marks = segments(listed), bookmarks(listed)
    result = Recovered()
    if not found:
        return result
    result.epoch = found[-1].epoch + 1
    storage.sync_directory(directory)  # a name that is built on must not go away again
    begun: list[Header] = []
    by_epoch = [list(group) for _, group in groupby(found, key=lambda name: name.epoch)]
    for names in reversed(by_epoch):
        scan = _Scan(storage, directory, writer, result, marks)
        scan.epoch(names)
        begun += scan.begun
        if scan.batches:
            break
    for header in begun:
        if header.first_seq > result.next_seq:
            result.missing.append((result.next_seq, header.first_seq - 1))
            result.next_seq, result.prev = header.first_seq, header.prev
    return result


def first_records(recovered: Recovered, now: float) -> list[bytes]:
    """The bodies of a new epoch's first batch: outcomes for the open calls, then what was found."""
    records = [interrupted(line, now) for line in recovered.open_calls.values()]
    detail: dict[str, str | int | bool | list[str]] = {
        "epoch": recovered.epoch,
        "interrupted": len(records),
        "cutBytes": recovered.cut_bytes,
    }
    if recovered.missing:
        detail["missing"] = [f"{first}-{last}" for first, last in recovered.missing]
    event = SystemEvent(
        event_id=new_id(now),
        stage_timestamp=rfc3339(now),
        action="journal.open" if recovered.clean else "journal.recover",
        outcome="records-missing" if recovered.missing else "ok",
        detail=detail,
    )
    return [*records, body(event)]


def interrupted(line: bytes, now: float) -> bytes:
    """The outcome of a call whose process died, from the line of its intent.

    What the cluster answered is not known, so the code is 0.
    """
    description = line[line.index(b'"auditID":"') : -1]
    progress = Progress(
        ResponseStatus(code=0, reason="Interrupted", message="the proxy died during this call"),
        close_reason=CloseReason.INTERRUPTED,
    )
    return stage(description, Stage.RESPONSE_COMPLETE, now, progress)


class _Scan:
    """One epoch being read, oldest segment first."""

    def __init__(
        self,
        storage: Storage,
        directory: Path,
        writer: str,
        result: Recovered,
        marks: list[SegmentName],
    ) -> None:
        self._storage = storage
        self._directory = directory
        self._writer = writer
        self._result = result
        self._marks = marks
        self._open = OpenCalls()
        result.open_calls = self._open.lines
        self.batches = 0
        self.begun: list[Header] = []
        """Of the segments at the end that have no batch: what they say was before them, was."""
        self._last = 0

    def epoch(self, names: list[SegmentName]) -> None:
        result = self._result
        names, newest = self._written(names)
        # With a seal nothing is open, so nothing before it is needed.
        names = names[-1:] if sealed(newest) else self._resume(names)
        for name in self._ours(names)[:-1]:
            path = self._directory / str(name)
            with _located(path):
                self._older(path)
        for name in names[-1:]:
            path = self._directory / str(name)
            with _located(path):
                self._newest(newest, path)
        result.next_seq = max(result.next_seq, self._last + 1)

    def _written(self, names: list[SegmentName]) -> tuple[list[SegmentName], bytes]:
        """The segments up to the last one with a whole batch, and that one's bytes.

        One without does not overrule the segment before it: that one's last batch, which failed
        and was to be written again, may be whole.
        """
        names = list(names)
        while names:
            path = self._directory / str(names[-1])
            data = self._storage.read(path)
            with _located(path):
                read = read_header(data)
                if read is not None and _batch_at(data, read[1]):
                    return names, data
                self._only_begun(path, data, read)
            self._result.clean = False
            names.pop()
        return names, b""

    def _only_begun(self, path: Path, data: bytes, read: tuple[Header, int] | None) -> None:
        """Give back the space of a segment without a batch; its name stays used."""
        if read is None:
            _not_damaged(data)
            self._empty(path, len(data))
            return
        header, position = read
        self._refuse_stranger(header)
        self._refuse_damage(data, position, header.first_seq - 1)
        self._cut(path, data, position)
        self.begun.append(header)

    def _empty(self, path: Path, size: int) -> None:
        if size:
            file = self._storage.open(path)
            try:
                file.truncate(0)
            finally:
                file.close()

    def _resume(self, names: list[SegmentName]) -> list[SegmentName]:
        """Begin at the newest bookmark that fits; returns the segments that are left to read."""
        for name in reversed(self._marks):
            if name not in names[:-1]:
                continue
            after = names.index(name) + 1
            mark = decode(self._storage.read(self._directory / file_name(name)))
            header = self._header(names[after])
            if mark is None or header is None or mark.writer != self._writer or mark.name != name:
                continue
            if (header.first_seq, header.prev) == (mark.seq + 1, mark.sha256):
                self._gaps(names[: after + 1])
                self._open.restore(mark.lines)
                self.batches, self._last = 1, mark.seq
                return names[after:]
        return names

    def _gaps(self, names: list[SegmentName]) -> None:
        """Report what is missing between segments that are not read, as their numbers show it."""
        for name, following in pairwise(names):
            if following.number == name.number + 1:
                continue
            path = self._directory / str(name)
            start = max(0, self._storage.size(path) - _PIECE)
            trailer = last_trailer(self._storage.read(path, start))
            header = self._header(following)
            if trailer is not None and header is not None and trailer.last + 1 < header.first_seq:
                self._result.missing.append((trailer.last + 1, header.first_seq - 1))

    def _ours(self, names: list[SegmentName]) -> list[SegmentName]:
        """Without those that a later one replaces: what stands there is somebody else's."""
        headers = [self._header(name) for name in names[1:]]
        replaced = {header.replaces for header in headers if header is not None}
        return [name for name in names if name.number not in replaced]

    def _header(self, name: SegmentName) -> Header | None:
        """The header of a segment, or None when it has none that can be read."""
        try:
            read = read_header(self._storage.read(self._directory / str(name), 0, _FIRST_LINE))
        except CorruptJournalError:
            return None
        return read[0] if read is not None else None

    def _older(self, path: Path) -> None:
        """Read a segment that another follows, piece by piece: fresh memory is slower to get."""
        data = self._storage.read(path, 0, _PIECE)
        read = read_header(data)
        if read is None:
            _not_damaged(data)
            return
        header, position = read
        self._continue(header)
        end, size, offset = _rewritten(data, position), _PIECE, 0
        while end > position or (len(data) == size and data[-1] != 0):
            if end == position:  # the piece ends within its first batch
                size *= 2
            else:
                self._skim(data, position, end)
                size = _PIECE
            offset += end
            data, position = self._storage.read(path, offset, size), 0
            end = _rewritten(data, 0)
        self._refuse_damage(data, position, self._last)

    def _newest(self, data: bytes, path: Path) -> None:
        """Read the last segment, where a torn tail may be, and look at every checksum."""
        read = read_header(data)
        if read is None:
            return
        header, position = read
        self._continue(header)
        end = sound(data, position)
        self._skim(data, position, end)
        seal = read_seal(data, end)
        if seal is not None and seal.seq == self._last:
            self._result.open_calls.clear()
            return
        self._result.clean = False
        self._refuse_damage(data, end, self._last)
        self._cut(path, data, end)

    def _skim(self, data: bytes, position: int, end: int) -> None:
        skimmed = self._open.skim(data, position, end, self._last + 1)
        if skimmed.last is not None:
            self.batches += skimmed.batches
            self._last = skimmed.last.last
            self._result.prev = skimmed.last.sha256

    def _continue(self, header: Header) -> None:
        """Go on from where the segment says it does."""
        self._refuse_stranger(header)
        if self._last and header.first_seq > self._last + 1:
            self._result.missing.append((self._last + 1, header.first_seq - 1))
        self._last = header.first_seq - 1
        if header.first_seq >= self._result.next_seq:
            self._result.next_seq = header.first_seq
            self._result.prev = header.prev

    def _refuse_stranger(self, header: Header) -> None:
        if header.writer != self._writer:
            raise CorruptJournalError(
                f"it belongs to writer {header.writer}, not {self._writer}",
                hint="Each data directory has its own journals; do not copy them into another.",
            )

    def _refuse_damage(self, data: bytes, position: int, last: int) -> None:
        torn = data.find(b"}", position) >= 0
        if torn and (after := intact_after(data, position)) is not None:
            raise CorruptJournalError(
                f"it is damaged after record {last}; records up to {after} follow"
            )

    def _cut(self, path: Path, data: bytes, end: int) -> None:
        """Cut the torn tail, and make durable what the page cache may hold alone.

        After a sync that failed, the kernel takes the last batch for durable, and a sync would do
        nothing: it is written again.
        """
        found = last_batch(data[:end])
        start = found.start if found is not None else 0
        file = self._storage.open(path)
        try:
            if end < len(data):
                self._result.cut_bytes += len(data[end:].rstrip(b"\0"))
                file.truncate(end)
            file.write(data[start:end], start)
            file.sync()
        finally:
            file.close()
        self._storage.sync_directory(self._directory)


def _rewritten(data: bytes, position: int) -> int:
    """Where the intact batches end, in a segment that was followed by another: only its last batch can be torn."""
    found = last_batch(data)
    if found is None:  # what looks like the last trailer is torn
        return sound(data, position)
    return found.next if intact(data, found) else max(found.start, position)


def _batch_at(data: bytes, position: int) -> bool:
    found = read_batch(data, position)
    return found is not None and intact(data, found)


def _not_damaged(data: bytes) -> None:
    if data.find(b'{"kind":"Batch"') >= 0:
        raise CorruptJournalError("the header is damaged")


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Say in which file the damage is, and what to do."""
    try:
        yield
    except CorruptJournalError as error:
        raise CorruptJournalError(
            f"{path}: {error.message}",
            hint=error.hint or "Restore the file from a copy; nothing was changed.",
        ) from error
