"""Handshakes with the control plane that failed: logins that were refused before they said anything."""

import structlog

from proxy.audit.event import ConnectionEvent, body, new_id
from proxy.audit.port import Journal, JournalUnavailableError
from proxy.clock import Clock, rfc3339
from proxy.metrics import Metrics

_log = structlog.get_logger(__name__)


class FailedHandshakes:
    """Puts them on record, as the data plane does with its own."""

    def __init__(self, journal: Journal, metrics: Metrics, clock: Clock) -> None:
        self._journal = journal
        self._metrics = metrics
        self._clock = clock

    def record(self, source: str, reason: str, message: str) -> None:
        """Queue a connection event; nobody waits for it, since nobody was let in."""
        self._metrics.refusals.labels(reason).inc()
        now = self._clock.now()
        event = ConnectionEvent(new_id(now), rfc3339(now), (source,), "control", reason, message)
        try:
            self._journal.post(body(event))
        except JournalUnavailableError as error:
            _log.warning("a failed connection could not be recorded", error=error.message)
