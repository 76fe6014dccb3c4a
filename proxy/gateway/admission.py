"""Whether a call may go on now: while its record can be kept, or by break-glass.

While the gate is closed nothing goes out, reads included. The one exception: when the disk is full
and the journal has space kept back, the members of `journal.break_glass_group` may go on, so that
somebody can repair what fills it. Each of their calls is announced on record before it goes on;
what they may do is what they may do at any time.
"""

from typing import Final

import structlog

from proxy.audit.event import SystemEvent, body, new_id
from proxy.audit.gate import JOURNAL, Gate
from proxy.audit.port import Journal, JournalUnavailableError
from proxy.clock import Clock, rfc3339
from proxy.gateway.exchange import Identified
from proxy.gateway.record import CallRecord
from proxy.metrics import Metrics

_log = structlog.get_logger(__name__)

BREAK_GLASS: Final = "kubewitness.io/break-glass"
"""Annotation of a call's record: the cause for which others were refused."""


class Admission:
    """The gate as the calls of one process meet it."""

    def __init__(
        self, gate: Gate, journal: Journal, group: str, *, clock: Clock, metrics: Metrics
    ) -> None:
        self._gate = gate
        self._journal = journal
        self._group = group
        self._clock = clock
        self._metrics = metrics

    @property
    def _failure(self) -> str:
        return self._gate.failure or self._journal.failure

    async def admit(self, identified: Identified) -> None:
        """Let the call on, by break-glass if need be, and then on record as such.

        Raises JournalUnavailableError when it may not go on.
        """
        cause = self._failure
        if not cause:
            return
        # The groups that count for the caller; whom `--as` asks for plays no part.
        member = self._group and self._group in identified.who.groups
        if not (member and self._reserve_helps()):
            raise JournalUnavailableError(cause)
        record = identified.described.routed.received.record
        record.break_glass = True
        record.call.annotations[BREAK_GLASS] = cause
        await self._announce(record, cause)
        self._metrics.break_glass_calls.inc()

    def check(self, record: CallRecord) -> None:
        """Look once more, right before the first byte goes out.

        Raises JournalUnavailableError when the gate closed meanwhile.
        """
        cause = self._failure
        if cause and not (record.break_glass and self._only_space_is_missing()):
            raise JournalUnavailableError(cause)

    def refused(self) -> None:
        """A call was refused for want of a record; it may be on no record but this number."""
        self._gate.count_refused()

    def _only_space_is_missing(self) -> bool:
        return set(self._gate.closed_by) <= {JOURNAL}

    def _reserve_helps(self) -> bool:
        return self._only_space_is_missing() and self._journal.reserve_left > 0

    async def _announce(self, record: CallRecord, cause: str) -> None:
        """Loudly: in the log, and durable in the journal before the call goes on."""
        call = record.call
        _log.warning(
            "break-glass: a call goes on while others are refused",
            audit_id=call.audit_id,
            user=call.user.username,
            cluster=call.cluster,
            verb=call.verb,
            cause=cause,
        )
        now = self._clock.now()
        event = SystemEvent(
            event_id=new_id(now),
            stage_timestamp=rfc3339(now),
            action="audit.break-glass",
            actor=call.user.username,
            source_ips=call.source_ips,
            target=call.audit_id,
            detail={
                "cause": cause,
                "group": self._group,
                "cluster": call.cluster,
                "verb": call.verb,
                "reserveLeft": self._journal.reserve_left,
            },
        )
        await self._journal.append(body(event), reserve=True)
