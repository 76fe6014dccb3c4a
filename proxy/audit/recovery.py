"""Opening a journal that another process left, or lost.

What a writer can leave by dying at any instant is a torn tail: the last batch of its last segment,
unfinished. That is cut. Damage in front of something whole is not a tail, and we refuse to build
on it. Records that are missing altogether (a segment was deleted) are reported, not invented.

The first batch of an epoch closes every call the epochs before it left open and says what was
found, so only the epochs since the last one that has a batch need to be read, and a sealed one
not even that. Reading is bounded by memory bandwidth, not by JSON: the stage and the audit id of
a call's event stand at fixed places (`proxy.audit.event.stage`), and what stands elsewhere is
decoded.
"""

from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from proxy.audit.event import (
    API_VERSION,
    TERMINAL,
    CloseReason,
    Progress,
    ResponseStatus,
    Stage,
    SystemEvent,
    body,
    new_id,
    stage,
)
from proxy.audit.journal import (
    GENESIS,
    UNREADABLE,
    CorruptJournalError,
    Found,
    Header,
    SegmentName,
    intact,
    intact_after,
    read_batch,
    read_header,
    read_seal,
    record_lines,
    sealed,
    segments,
)
from proxy.audit.storage import Storage
from proxy.clock import rfc3339

# Where things stand in a line; see journal.frame and event.stage. The tests hold these to them.
_SEQ_AT: Final = len(b'{"seq":')
_SALT: Final = len(b',"salt":"') + 32 + len(b'",')
_EVENT: Final = f'"kind":"Event","apiVersion":"{API_VERSION}","level":"Metadata","stage":"'.encode()
_NOT_CALLS: Final = (b'"kind":"SystemEvent"', b'"kind":"ConnectionEvent"')
_TIME: Final = b'","stageTimestamp":"'
_ID: Final = b'"auditID":"'
_ID_LENGTH: Final = 36


def _id_after(name: Stage) -> int:
    """From the first letter of the stage's name to the audit id itself."""
    return len(name) + len(_TIME) + len(rfc3339(0)) + len(b'",') + len(_ID)


_INTENT_ID: Final = _id_after(Stage.REQUEST_RECEIVED)
_OUTCOME_ID: Final = _id_after(Stage.RESPONSE_COMPLETE)


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


class _Stub(msgspec.Struct, rename={"audit_id": "auditID"}):
    kind: str = ""
    stage: str = ""
    audit_id: str = ""


_decode_stub = msgspec.json.Decoder(_Stub).decode


def recover(storage: Storage, directory: Path, writer: str) -> Recovered:
    """Read what is there, cut the torn tail, and make durable what is kept.

    Raises CorruptJournalError when it is damaged or another writer's, OSError when it cannot be
    read or cut.
    """
    found = segments(storage.names(directory))
    result = Recovered()
    if not found:
        return result
    result.epoch = found[-1].epoch + 1
    by_epoch = [list(group) for _, group in groupby(found, key=lambda name: name.epoch)]
    for names in reversed(by_epoch):
        scan = _Scan(storage, directory, writer, result)
        scan.epoch(names)
        if scan.batches:
            break
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
    description = line[line.index(_ID) : -1]
    progress = Progress(
        ResponseStatus(code=0, reason="Interrupted", message="the proxy died during this call"),
        close_reason=CloseReason.INTERRUPTED,
    )
    return stage(description, Stage.RESPONSE_COMPLETE, now, progress)


class _Scan:
    """One epoch being read, oldest segment first."""

    def __init__(self, storage: Storage, directory: Path, writer: str, result: Recovered) -> None:
        self._storage = storage
        self._directory = directory
        self._writer = writer
        self._result = result
        self.batches = 0
        self._last = 0

    def epoch(self, names: list[SegmentName]) -> None:
        result = self._result
        newest = self._storage.read(self._directory / str(names[-1]))
        if sealed(newest):
            names = names[-1:]  # nothing is open, so nothing before it is needed
        for name in names:
            path = self._directory / str(name)
            last_one = name == names[-1]
            data = newest if last_one else self._storage.read(path)
            try:
                self._segment(data, path, last_one=last_one)
            except CorruptJournalError as error:
                raise CorruptJournalError(
                    f"{path}: {error.message}",
                    hint=error.hint or "Restore the file from a copy; nothing was changed.",
                ) from error
        result.next_seq = max(result.next_seq, self._last + 1)

    def _segment(self, data: bytes, path: Path, *, last_one: bool) -> None:
        read = read_header(data)
        if read is None:
            if data.find(b'{"kind":"Batch"') >= 0:
                raise CorruptJournalError("the header is damaged")
            self._result.clean = False
            return
        header, position = read
        self._continue(header)
        while (found := read_batch(data, position)) is not None:
            if last_one and not intact(data, found):
                break
            if found.trailer.first != self._last + 1:
                raise CorruptJournalError(
                    f"record {self._last + 1} should come at byte {position},"
                    f" but {found.trailer.first} does"
                )
            self._keep(data, found)
            position = found.next
        self._tail(data, position, path, last_one=last_one)

    def _continue(self, header: Header) -> None:
        """Go on from where the segment says it does."""
        if header.writer != self._writer:
            raise CorruptJournalError(
                f"it belongs to writer {header.writer}, not {self._writer}",
                hint="Each data directory has its own journals; do not copy them into another.",
            )
        if self._last and header.first_seq > self._last + 1:
            self._result.missing.append((self._last + 1, header.first_seq - 1))
        self._last = header.first_seq - 1
        if header.first_seq >= self._result.next_seq:
            self._result.next_seq = header.first_seq
            self._result.prev = header.prev

    def _keep(self, data: bytes, found: Found) -> None:
        self.batches += 1
        self._last = found.trailer.last
        self._result.prev = found.trailer.sha256
        track(data, found, self._result.open_calls)

    def _tail(self, data: bytes, position: int, path: Path, *, last_one: bool) -> None:
        """Judge what follows the last good batch; cut it when it is the journal's end."""
        seal = read_seal(data, position)
        if seal is not None and seal.seq == self._last:
            self._result.open_calls.clear()
            return
        self._result.clean = False
        torn = data.find(b"}", position) >= 0
        if torn and (after := intact_after(data, position)) is not None:
            raise CorruptJournalError(
                f"it is damaged at byte {position}, after record {self._last};"
                f" records up to {after} follow"
            )
        if not last_one:
            return  # what was torn here was written again to the next segment
        file = self._storage.open(path)
        try:
            if position < len(data):
                self._result.cut_bytes += len(data[position:].rstrip(b"\0"))
                file.truncate(position)
            file.sync()
        finally:
            file.close()
        self._storage.sync_directory(self._directory)


def track(data: bytes, found: Found, open_calls: dict[bytes, bytes]) -> None:
    """Add the intents of a batch to `open_calls` and take out what has an outcome."""
    width = len(b"%d" % found.trailer.first)
    if width != len(b"%d" % found.trailer.last):
        _track_slowly(data, found, open_calls)
        return
    event_at = _SEQ_AT + width + _SALT
    stage_at = event_at + len(_EVENT)
    start, end = found.start, found.end
    find, starts = data.find, data.startswith
    while start < end:
        stop = find(b"\n", start, end)
        at = start + stage_at
        letter = data[at + 8 : at + 9]  # Request[R]eceived, Response[C]omplete, Response[S]tarted
        if not starts(_EVENT, start + event_at):
            if not starts(_NOT_CALLS, start + event_at):
                _track_line(data[start:stop], open_calls)
        elif letter == b"e" and starts(_ID, at + _INTENT_ID - len(_ID)):
            open_calls[data[at + _INTENT_ID : at + _INTENT_ID + _ID_LENGTH]] = data[start:stop]
        elif letter == b"C" and starts(_ID, at + _OUTCOME_ID - len(_ID)):
            open_calls.pop(data[at + _OUTCOME_ID : at + _OUTCOME_ID + _ID_LENGTH], None)
        elif letter != b"S":
            _track_line(data[start:stop], open_calls)
        start = stop + 1


def _track_slowly(data: bytes, found: Found, open_calls: dict[bytes, bytes]) -> None:
    for _, line in record_lines(data, found):
        _track_line(line, open_calls)


def _track_line(line: bytes, open_calls: dict[bytes, bytes]) -> None:
    try:
        stub = _decode_stub(line)
    except UNREADABLE:
        return  # an intact batch holds what was appended; such a record opens no call
    if stub.kind != "Event":
        return
    if stub.stage == Stage.REQUEST_RECEIVED:
        open_calls[stub.audit_id.encode()] = line
    elif stub.stage in TERMINAL:
        open_calls.pop(stub.audit_id.encode(), None)
