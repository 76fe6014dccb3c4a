"""The condition of a journal: whether records can be made durable now, and why not. On the loop.

Three things can be wrong: it is closed (calls are refused), it had trouble that it survived, and
it has no reserve. The first two end with a probe, a record of what happened that became durable;
the last one when there is a reserve.
"""

from collections.abc import Callable
from typing import Final

import structlog

from proxy.audit.event import SystemEvent, body, new_id
from proxy.audit.journal.rescue import Rescued
from proxy.clock import Clock, rfc3339
from proxy.metrics import Metrics

_log = structlog.get_logger(__name__)

OK: Final = 0
DEGRADED: Final = 1
CLOSED: Final = 2
_MILLIS: Final = 1000


class Condition:
    """What listeners and metrics are told of one journal."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._listeners: list[Callable[[int, str], None]] = []
        self._told = (OK, "")
        self._since = 0.0
        self._first = ""
        """Why it was closed at first; later causes often follow from it."""
        self.closed = ""
        """Why calls are refused; empty while they are not."""
        self._trouble = ""
        self._no_reserve = ""
        metrics.journal_ok.set(1)

    @property
    def ailing(self) -> bool:
        """Whether a probe has to become durable before all is well."""
        return bool(self.closed or self._trouble)

    def listen(self, callback: Callable[[int, str], None]) -> None:
        """Tell `callback` (level, cause) at each change, and now unless all is well."""
        self._listeners.append(callback)
        if self._told[0] != OK:
            callback(*self._told)

    def close(self, reason: str) -> None:
        """Calls are refused from now on."""
        if not self.closed:
            self._first = reason
            self._begin()
            self._metrics.journal_ok.set(0)
            _log.error("calls are refused: the journal cannot be written", reason=reason)
        self.closed = reason
        self._tell()

    def trouble(self, cause: str) -> None:
        """Something failed and was survived."""
        self._begin()
        self._trouble = self._trouble or cause
        self._tell()

    def no_reserve(self, cause: str) -> None:
        """The reserve could not be made; with an empty cause it was."""
        if cause and not self._no_reserve:
            _log.warning("no reserve for a full disk", reason=cause)
        self._no_reserve = cause
        self._tell()

    def probe(self, rescued: list[Rescued]) -> bytes:
        """The record that, once durable, proves that the journal can be written again."""
        now = self._clock.now()
        elapsed = self._clock.monotonic() - self._since
        detail: dict[str, str | int | bool | list[str]] = {
            "from": "closed" if self.closed else "degraded",
            "cause": self._first or self._trouble,
            "seconds": int(elapsed),
            "milliseconds": int(elapsed * _MILLIS),
        }
        missing = [f"{item.missing[0]}-{item.missing[1]}" for item in rescued if item.missing]
        if rescued:
            detail["rescued"] = [str(item) for item in rescued]
        if missing:
            detail["missing"] = missing
        event = SystemEvent(
            event_id=new_id(now),
            stage_timestamp=rfc3339(now),
            action="journal.heal",
            outcome="records-missing" if missing else "ok",
            detail=detail,
        )
        return body(event)

    def heal(self) -> None:
        """The probe is durable."""
        if self.closed:
            self._metrics.journal_ok.set(1)
            seconds = round(self._clock.monotonic() - self._since, 3)
            _log.warning("the journal can be written again", seconds=seconds)
        self.closed = self._first = self._trouble = ""
        self._tell()

    def _begin(self) -> None:
        if not self.ailing:
            self._since = self._clock.monotonic()

    def _tell(self) -> None:
        if self.closed:
            now = (CLOSED, self.closed)
        elif cause := self._trouble or self._no_reserve:
            now = (DEGRADED, cause)
        else:
            now = (OK, "")
        if now != self._told:
            self._told = now
            for callback in self._listeners:
                callback(*now)
