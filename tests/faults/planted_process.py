"""Planted bugs of the process: the pipeline, the record and the gate, broken one at a time.

A rig's proxy is another process, so a rig passes the bug's name on, and `planted` breaks that one.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from proxy.audit.event import CloseReason, ResponseStatus, Stage, describe
from proxy.audit.journal.watchdog import Watchdog
from proxy.audit.port import JournalUnavailableError
from proxy.audit.replication import ReplicatedJournal
from proxy.gateway import forwarding
from proxy.gateway.admission import Admission
from proxy.gateway.exchange import Cleared, Identified, Intended
from proxy.gateway.pipeline import Pipeline
from proxy.gateway.record import CallRecord
from proxy.gateway.responding import chunk, last_chunk
from proxy.kube.request_info import may_have_effect
from tests.faults.swapping import swapped

_sound_end = CallRecord._end
_sound_append = CallRecord._append
_sound_intend = CallRecord.intend
_sound_wait_end = CallRecord.end
_sound_start = CallRecord.start
_sound_admit = Admission.admit
_sound_check = Admission.check


def _done(value: int = 1) -> "asyncio.Future[int]":
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


async def _end_unwritten(self: CallRecord, status: ResponseStatus, reason: str = "") -> None:
    self.status, self.close_reason, self.ended = status.code, reason, True


async def _end_not_awaited(self: CallRecord, status: ResponseStatus, reason: str = "") -> None:
    outcome = self._end(Stage.RESPONSE_COMPLETE, status, reason)
    self._silence(outcome)
    self._silence(self._intent)


async def _start_unwritten(self: CallRecord, status: int) -> None:
    self.status, self.released = status, True


async def _intend_not_awaited(self: Pipeline, cleared: Cleared) -> Intended:
    record = cleared.authorized.identified.described.routed.received.record
    intent = record.intend()
    record._silence(intent)
    return Intended(cleared, intent)


async def _intend_whatever(self: Pipeline, cleared: Cleared) -> Intended:
    described = cleared.authorized.identified.described
    record = described.routed.received.record
    intent = record.intend()
    if may_have_effect(described.call_class):
        with contextlib.suppress(JournalUnavailableError):
            await intent
    record._silence(intent)
    return Intended(cleared, intent)


def _intend_late(self: CallRecord, *, urgent: bool = True) -> "asyncio.Future[int]":
    """The intent goes to the journal a moment after it should: the call is forwarded before."""
    if self._description is not None:
        return _sound_intend(self, urgent=urgent)

    def write() -> None:
        with contextlib.suppress(JournalUnavailableError):
            self._silence(_sound_intend(self, urgent=urgent))

    asyncio.get_running_loop().call_later(0.002, write)
    self._description = describe(self.call)
    return _done()


async def _open_end(self: CallRecord, status: ResponseStatus, reason: str = "") -> None:
    with contextlib.suppress(JournalUnavailableError):
        await _sound_wait_end(self, status, reason)


def _open_intend(self: CallRecord, *, urgent: bool = True) -> "asyncio.Future[int]":
    """A failure of the journal is no failure of the call's."""
    shown: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def told(future: "asyncio.Future[int]") -> None:
        if not future.cancelled():
            future.exception()
        if not shown.done():
            shown.set_result(0)

    try:
        _sound_intend(self, urgent=urgent).add_done_callback(told)
    except JournalUnavailableError:
        shown.set_result(0)
    self._intent = shown
    return shown


async def _admit_everybody(self: Admission, identified: Identified) -> None:
    self._group = identified.who.groups[0]
    await _sound_admit(self, identified)


async def _admit_reads(self: Admission, identified: Identified) -> None:
    if may_have_effect(identified.described.call_class):
        await _sound_admit(self, identified)


def _check_nothing(self: Admission, record: CallRecord) -> None:
    pass


def _read_intent_is_hope(self: CallRecord, *, urgent: bool = True) -> "asyncio.Future[int]":
    """A read whose intent is refused goes on; its answer still waits for the outcome."""
    try:
        return _sound_intend(self, urgent=urgent)
    except JournalUnavailableError:
        if urgent:
            raise
        return _done()


def _end_twice(
    self: CallRecord, name: Stage, status: ResponseStatus, reason: str
) -> "asyncio.Future[int] | None":
    outcome = _sound_end(self, name, status, reason)
    if outcome is not None:
        self._silence(_sound_append(self, name, status))
    return outcome


def _finish_but_not_gone(self: Pipeline, received: Any, reason: CloseReason) -> None:
    if reason is not CloseReason.CLIENT_GONE:
        _sound_finish(self, received, reason)


_sound_finish = Pipeline._finish


def _abandon_by_append(self: CallRecord, status: ResponseStatus, reason: CloseReason) -> None:
    if not self.ended:
        if self._intent is None:
            self._silence(self.intend())
        self._silence(_sound_end(self, Stage.RESPONSE_COMPLETE, status, reason))
        self._silence(self._intent)


async def _chunked_end_too_early(record: CallRecord, client: Any, response: Any) -> None:
    body = response.body
    while data := await body.read():
        record.bytes_out += len(data)
        client.write(chunk(data))
        await client.drained()
    client.write(last_chunk([]))
    await record.end(ResponseStatus(response.status))


def _correct_nothing(self: Pipeline, received: Any, error: JournalUnavailableError) -> None:
    pass


def _tick_idly(self: Watchdog) -> None:
    """Looks, but refuses nobody."""
    self._look()
    self._timer = self._loop.call_later(0.02, lambda: _tick_idly(self))


def _never_look(self: ReplicatedJournal) -> None:
    """Nobody looks at the deadlines of those who wait for the database."""


Change = tuple[Any, str, Any]

CHANGES: dict[str, Callable[[], list[Change]]] = {
    "outcome-skipped": lambda: [(CallRecord, "end", _end_unwritten)],
    "outcome-not-awaited": lambda: [(CallRecord, "end", _end_not_awaited)],
    "start-skipped": lambda: [(CallRecord, "start", _start_unwritten)],
    "last-chunk-before-the-outcome": lambda: [
        (forwarding, "_relay_chunked", _chunked_end_too_early)
    ],
    "intent-after-the-forward": lambda: [(CallRecord, "intend", _intend_late)],
    "intent-not-awaited": lambda: [(Pipeline, "_intend", _intend_not_awaited)],
    "forward-on-a-refused-intent": lambda: [
        (Pipeline, "_intend", _intend_whatever),
        (Admission, "check", _check_nothing),
    ],
    "fail-open": lambda: [
        (CallRecord, "end", _open_end),
        (CallRecord, "intend", _open_intend),
        (Admission, "check", _check_nothing),
        (Admission, "admit", _nothing),
    ],
    "gate-not-asked-for-reads": lambda: [
        (Admission, "admit", _admit_reads),
        (Admission, "check", _check_nothing),
        (CallRecord, "intend", _read_intent_is_hope),
    ],
    "two-outcomes": lambda: [(CallRecord, "_end", _end_twice)],
    "outcome-of-a-cut-call-dropped": lambda: [(CallRecord, "abandon", _abandon_by_append)],
    "client-gone-unrecorded": lambda: [(Pipeline, "_finish", _finish_but_not_gone)],
    "break-glass-for-everybody": lambda: [(Admission, "admit", _admit_everybody)],
    "deadline-not-enforced": lambda: [(Watchdog, "_tick", _tick_idly)],
    "database-deadline-not-enforced": lambda: [(ReplicatedJournal, "_watch", _never_look)],
    "withheld-answer-on-record-as-given": lambda: [(Pipeline, "_correct", _correct_nothing)],
}
"""What each bug replaces, by name."""


async def _nothing(self: Admission, identified: Identified) -> None:
    pass


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Break this process in the way that `name` says; an empty name breaks nothing."""
    with swapped(*(CHANGES[name]() if name else [])):
        yield
