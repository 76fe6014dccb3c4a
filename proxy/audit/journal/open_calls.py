"""Which calls are open: reading a journal for intents without an outcome, at the disk's speed.

One gigabyte must be read within a second at a start after a crash, so lines are not decoded. In
what `proxy.audit.event.stage` writes, stage and audit id stand at fixed places of the line; what
looks different there is decoded after all. Pure.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from proxy.audit.event import API_VERSION, TERMINAL, Stage
from proxy.audit.journal.records import UNREADABLE, CorruptJournalError, Trailer, decode_trailer
from proxy.clock import rfc3339

# Where things stand in a line; see journal.frame and event.stage. The tests hold these to them.
_SEQ_AT: Final = len(b'{"seq":')
_SALT: Final = len(b',"salt":"') + 32 + len(b'",')
_HEAD: Final = f'"kind":"Event","apiVersion":"{API_VERSION}","level":"Metadata","stage":"'
_EVENT: Final = len(_HEAD)
_ID: Final = b'"auditID":"'
_ID_LENGTH: Final = 36
_NEITHER: Final = (
    b'"kind":"SystemEvent"',
    b'"kind":"ConnectionEvent"',
    f'{_HEAD}{Stage.RESPONSE_STARTED}"'.encode(),
)
"""Beginnings of bodies that are neither an intent nor an outcome."""
_TELLING: Final = 8
"""The letter of a stage's name that tells which it is: Request[R]eceived."""
_INTENT, _OUTCOME = b"eC"
_RECORD: Final = ord("s")
"""`{"seq":…` begins a record, `{"kind":…` anything else."""


def _id_after(name: Stage) -> int:
    """From the first letter of the stage's name to the audit id itself."""
    return len(f'{name}","stageTimestamp":"{rfc3339(0)}",') + len(_ID)


_INTENT_ID: Final = _id_after(Stage.REQUEST_RECEIVED)
_OUTCOME_ID: Final = _id_after(Stage.RESPONSE_COMPLETE)


class _Stub(msgspec.Struct, rename={"audit_id": "auditID"}):
    kind: str = ""
    stage: str = ""
    audit_id: str = ""


_decode_stub = msgspec.json.Decoder(_Stub).decode


class Skimmed(NamedTuple):
    """What a stretch of batches holds."""

    batches: int
    last: Trailer | None
    next_seq: int
    """The sequence of the record that follows."""


class OpenCalls:
    """The calls that are open at the place read so far."""

    def __init__(self) -> None:
        self.lines: dict[bytes, bytes] = {}
        """Audit id → the line of the intent."""

    def restore(self, lines: Iterable[bytes]) -> None:
        """Begin with the calls of these intents open."""
        for line in lines:
            self.lines[_decode_stub(line).audit_id.encode()] = line

    def skim(self, data: bytes, start: int, end: int, first: int) -> Skimmed:
        """Read the lines in `data` from `start` to `end`; the first record should be `first`.

        Raises CorruptJournalError when the sequence is not dense or a line is not one of ours.
        """
        find, starts, lines, key = data.find, data.startswith, self.lines, _ID
        begun: dict[bytes, int] = {}
        wider = 10 ** len(str(first))
        body, letter_at, intent_at, outcome_at = _places(first)
        # Local names: this loop runs a million times a second.
        intent, outcome, before, length = _INTENT, _OUTCOME, len(key), _ID_LENGTH
        seq, batches, last = first, 0, None
        while start < end:
            if data[start + 2] != _RECORD:
                last, start = _trailer(data, start, seq)
                batches += 1
                continue
            if seq == wider:
                wider *= 10
                body, letter_at, intent_at, outcome_at = _places(seq)
            seq += 1
            letter = data[start + letter_at] if start + letter_at < end else 0
            if letter == intent and starts(key, (at := start + intent_at) - before):
                begun[data[at : at + length]] = start
            elif letter == outcome and starts(key, (at := start + outcome_at) - before):
                audit_id = data[at : at + length]
                begun.pop(audit_id, None)
                if lines:
                    lines.pop(audit_id, None)
            else:
                self._look(data, start, start + body, begun)
            start = find(b"\n", start) + 1
        for audit_id, where in begun.items():
            lines[audit_id] = data[where : find(b"\n", where)]
        return Skimmed(batches, last, seq)

    def _look(self, data: bytes, start: int, body: int, begun: dict[bytes, int]) -> None:
        """Decode the line at `start`, unless it plainly opens and closes nothing."""
        if data.startswith(_NEITHER, body):
            return
        try:
            stub = _decode_stub(data[start : data.find(b"\n", start)])
        except UNREADABLE:
            return  # an intact batch holds what was appended; such a record opens no call
        audit_id = stub.audit_id.encode()
        if stub.kind != "Event":
            return
        if stub.stage == Stage.REQUEST_RECEIVED:
            begun[audit_id] = start
        elif stub.stage in TERMINAL:
            begun.pop(audit_id, None)
            self.lines.pop(audit_id, None)


def _places(seq: int) -> tuple[int, int, int, int]:
    """Where things stand in the line of record `seq`.

    The body, the telling letter, and the audit id of an intent and of an outcome.
    """
    body = _SEQ_AT + len(str(seq)) + _SALT
    name = body + _EVENT
    return body, name + _TELLING, name + _INTENT_ID, name + _OUTCOME_ID


def _trailer(data: bytes, start: int, seq: int) -> tuple[Trailer, int]:
    """The trailer at `start`, which should end with the record before `seq`; the next line."""
    stop = data.find(b"\n", start)
    trailer = decode_trailer(data[start:stop])
    if trailer is None or trailer.last != seq - 1:
        raise CorruptJournalError(
            f"record {seq} should come before byte {start}, or a batch end with it there"
        )
    return trailer, stop + 1
