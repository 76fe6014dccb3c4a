"""The record of one call: its intent, its stages, and exactly one terminal event.

Whatever way a call ends, `end` or `abandon` writes the terminal event, once. The description is
encoded when the intent is written and does not change after that, but for what the cluster's answer
adds to the annotations.

An outcome whose confirmation comes too late is written all the same, and cannot be taken back: what
the client was told instead is then a record of its own, under the same audit id (`correct`).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.audit.event import (
    WITHHELD,
    Call,
    CloseReason,
    Progress,
    ResponseStatus,
    Stage,
    SystemEvent,
    body,
    describe,
    stage,
)
from proxy.audit.port import Journal, JournalUnavailableError
from proxy.clock import Clock, rfc3339
from proxy.kube.attributes import RequestInfo

_MICROS: Final = 1_000_000
_DENIED: Final = frozenset({401, 403})


class CallRecord:
    """What is written down about one call, in order."""

    __slots__ = (
        "_clock",
        "_description",
        "_intent",
        "_journal",
        "_started",
        "arrived",
        "break_glass",
        "bytes_in",
        "bytes_out",
        "call",
        "close_reason",
        "denied_by_cluster",
        "ended",
        "forwarded",
        "info",
        "released",
        "status",
        "summed",
        "upstream_micros",
    )

    def __init__(self, journal: Journal, clock: Clock, call: Call, arrived: float) -> None:
        self._journal = journal
        self._clock = clock
        self._description: bytes | None = None
        """The call as its events have it; None where it has to be encoded, or encoded again."""
        self._intent: asyncio.Future[int] | None = None
        self._started = clock.monotonic()
        self.arrived = arrived
        """Wall time at which the call arrived."""
        self.call = call
        self.break_glass = False
        """Whether the call goes on, on the journal's reserve, while others are refused."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.upstream_micros = 0
        self.status = 0
        self.close_reason = ""
        self.ended = False
        self.forwarded = False
        """Whether any byte of the call went to the cluster."""
        self.denied_by_cluster: Callable[[CallRecord], None] | None = None
        """Told when the cluster refuses the call, before that is written."""
        self.released = False
        """Whether any byte of the cluster's answer went to the client."""
        self.summed = False
        """Whether the call has no record of its own: it was refused, and is in a sum of such."""
        self.info: RequestInfo | None = None
        """What the call is, once described; it decides the form of answers of our own."""

    @property
    def elapsed(self) -> float:
        """Seconds since the call arrived."""
        return self._clock.monotonic() - self._started

    def intend(self, *, urgent: bool = True) -> asyncio.Future[int]:
        """Queue the intent; `urgent` when the call waits for it before it goes on. Raises JournalUnavailableError at once, or through the future."""
        self._description = describe(self.call)
        self._intent = self._journal.append(
            stage(self._description, Stage.REQUEST_RECEIVED, self.arrived),
            urgent=urgent,
            reserve=self.break_glass,
        )
        return self._intent

    async def start(self, status: int) -> None:
        """Write `ResponseStarted`, for answers whose end is not known yet; durable on return.

        Raises JournalUnavailableError when it, or the intent before it, is not durable.
        """
        await self._append(Stage.RESPONSE_STARTED, ResponseStatus(status))
        if self._intent is not None:
            await self._intent
        self.status = status
        self.released = True
        self._description = None  # a watch may last for an hour

    async def end(self, status: ResponseStatus, reason: str = "") -> None:
        """Write the outcome and wait until it, and the intent before it, are durable.

        Raises JournalUnavailableError when either is not; then nothing may be released.
        """
        outcome = self._end(Stage.RESPONSE_COMPLETE, status, reason)
        if outcome is None:
            return
        await outcome
        intent = self._intent
        if intent is not None:
            # Queued before the outcome, so it is settled by now; a lost intent fails the call too.
            await intent

    def count_only(self, status: int) -> None:
        """The call was refused and is in a sum of such (`proxy.audit.strangers`): nothing else is written."""
        self.status, self.close_reason = status, CloseReason.REFUSED
        self.summed = self.ended = True

    def describe_again(self) -> None:
        """The annotations have changed: what is written from here on has the new ones."""
        self._description = None

    def abandon(self, status: ResponseStatus, reason: CloseReason) -> None:
        """Write the terminal event of a call that nobody waits for any more, if none was written.

        Raises JournalUnavailableError when it cannot even be queued; the next start of the proxy
        then closes the call as interrupted.
        """
        if self.ended:
            return
        if self._intent is None:
            self._silence(self.intend())
        name = Stage.PANIC if reason is CloseReason.PANIC else Stage.RESPONSE_COMPLETE
        self.status = status.code
        self.close_reason = reason
        try:
            self._silence(self._append(name, status))
        except JournalUnavailableError:
            # A journal that refuses calls for now still keeps this until the disk is back; without
            # it an intent that was queued before would stay open.
            self._journal.post(self._encode(name, status))
        self.ended = True
        self._silence(self._intent)

    def correct(self, answered: int, cause: str) -> None:
        """Record that the client was not told what the terminal event says.

        `answered` is the status it got instead, or 0 when its answer was cut before the end;
        `cause` says why. Does nothing when the terminal event already says so. Raises
        JournalUnavailableError when it cannot even be queued.
        """
        if not self.ended or self.status == answered:
            return
        now = self._clock.now()
        event = SystemEvent(
            event_id=self.call.audit_id,
            stage_timestamp=rfc3339(now),
            action=WITHHELD,
            source_ips=self.call.source_ips,
            target=self.call.audit_id,
            outcome="failed",
            detail={"recorded": self.status, "answered": answered, "cause": cause},
        )
        self._journal.post(body(event))

    def _end(self, name: Stage, status: ResponseStatus, reason: str) -> asyncio.Future[int] | None:
        if self.ended:
            return None
        if self._intent is None:
            _ = self.intend()
        self.status = status.code
        self.close_reason = reason
        if self.forwarded and status.code in _DENIED and self.denied_by_cluster is not None:
            self.denied_by_cluster(self)
        outcome = self._append(name, status)
        self.ended = True
        return outcome

    def _append(self, name: Stage, status: ResponseStatus) -> asyncio.Future[int]:
        # With its intent on record the call may be under way: a full disk must not cut it.
        return self._journal.append(self._encode(name, status), reserve=self._intent is not None)

    def _encode(self, name: Stage, status: ResponseStatus) -> bytes:
        """The body of a stage after the first, as the call stands now."""
        if self._description is None:
            self._description = describe(self.call)
        progress = Progress(
            status,
            self.bytes_in,
            self.bytes_out,
            self.upstream_micros,
            int(self.elapsed * _MICROS),
            self.close_reason,
        )
        return stage(self._description, name, self._clock.now(), progress)

    @staticmethod
    def _silence(future: asyncio.Future[int] | None) -> None:
        """Nobody waits for this one; its failure shows in the journal's own state."""
        if future is not None:
            future.add_done_callback(_retrieve)


def _retrieve(future: asyncio.Future[int]) -> None:
    if not future.cancelled():
        future.exception()
