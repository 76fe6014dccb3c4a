"""The gate: whether calls may go on, as one state that everything which keeps the record reports to.

    ok        every copy of the record that was asked for is being made
    degraded  calls go on and are recorded, but something needs care
    closed    calls are refused, before anything is forwarded

Each source (the journal, the space it has left, the database) reports its own level; the worst
one counts. A change shows at once in `failure`, which is what calls are refused with, and in the
metric `audit_state`; it is logged, and recorded as a system event `audit.state`. A source that
flaps changes the state each time, but is logged and recorded in summaries.
"""

from asyncio import TimerHandle, get_running_loop
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import structlog

from proxy.audit.event import SystemEvent, body, new_id
from proxy.audit.port import JournalUnavailableError
from proxy.clock import Clock, rfc3339
from proxy.metrics import Metrics

_log = structlog.get_logger(__name__)

BURST: Final = 6
"""Changes that are recorded one by one; further ones wait for `REFILL`."""
REFILL: Final = 10.0
"""Seconds after which one more change may be recorded by itself."""
JOURNAL: Final = "journal"
"""The source that is this process's journal; the others are `space`, `database` and `carried`."""
_RETRY: Final = 0.25
"""Seconds between attempts to hand the journal an event that it had no room for."""
_MOST_KEPT: Final = 256
"""Events kept for a journal that takes none; older ones go first."""


class Level(IntEnum):
    """How well the record is kept. The numbers are those of the metric `audit_state`."""

    OK = 0
    DEGRADED = 1
    CLOSED = 2

    @property
    def word(self) -> str:
        """The level as people read it: ok, degraded, closed."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the state, or several close together."""

    former: Level
    level: Level
    cause: str
    """Why `level` is not ok; when all is well again, why `former` was not."""
    source: str
    """Whose report changed the state."""
    seconds: float
    """How long the former state lasted."""
    count: int = 1
    """Changes that this one stands for."""
    refused: int = 0
    """Calls that were refused meanwhile for want of a record."""


class Gate:
    """The state of one process. Used from its event loop only."""

    def __init__(self, *, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._reports: dict[str, tuple[Level, str]] = {}
        self._level = Level.OK
        self._cause = ""
        self._failure = ""
        self._refused = 0
        self._since = clock.monotonic()
        self._listeners: list[Callable[[Change], None]] = []
        # What was told last, and what has happened since: a flapping source is summed up.
        self._tokens = float(BURST)
        self._tokens_at = self._since
        self._untold: Change | None = None
        self._telling: TimerHandle | None = None
        self._post: Callable[[bytes], None] | None = None
        self._kept: deque[bytes] = deque(maxlen=_MOST_KEPT)
        self._keeping: TimerHandle | None = None
        metrics.audit_state.set(Level.OK)

    @property
    def level(self) -> Level:
        """The worst level that any source reports."""
        return self._level

    @property
    def cause(self) -> str:
        """Why the level is not ok, in words for a person; empty when it is."""
        return self._cause

    @property
    def failure(self) -> str:
        """Why calls are refused; empty unless the gate is closed."""
        return self._failure

    @property
    def closed_by(self) -> tuple[str, ...]:
        """The sources for which calls are refused."""
        return tuple(name for name, (level, _) in self._reports.items() if level is Level.CLOSED)

    def count_refused(self) -> None:
        """One more call was refused: nothing was forwarded, and it may not be on record."""
        self._refused += 1

    def report(self, source: str, level: Level, cause: str = "") -> None:
        """Say how `source` is. Telling the same twice is nothing new; `Level.OK` clears it."""
        if level is Level.OK:
            if self._reports.pop(source, None) is None:
                return
        elif self._reports.get(source) == (level, cause):
            return
        else:
            self._reports[source] = (level, cause or f"{source} is {level.word}")
        self._settle(source)

    def listen(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` on each change of the level, at once; it must be quick."""
        self._listeners.append(callback)

    def attach(self, post: Callable[[bytes], None]) -> None:
        """Record changes with `post`, a journal's; those that came before it are recorded now."""
        self._post = post
        self._hand_over()

    def close(self) -> None:
        """Record what is not recorded yet, as far as the journal takes it, and stop the timers."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if self._untold is not None:
            self._tell(self._untold)
        self._hand_over()
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        if self._kept:
            _log.error("changes of the audit state are not on record", count=len(self._kept))

    # -- the state -----------------------------------------------------------------------------

    def _settle(self, source: str) -> None:
        """Work out the state again after a report of `source`."""
        former, cause = self._level, self._cause
        level = max((level for level, _ in self._reports.values()), default=Level.OK)
        worst = [why for at, why in self._reports.values() if at is level]
        self._level = level
        self._cause = "; ".join(worst)
        self._failure = self._cause if level is Level.CLOSED else ""
        if level is former:
            return
        self._metrics.audit_state.set(level)
        now = self._clock.monotonic()
        seconds, self._since = now - self._since, now
        refused, self._refused = self._refused, 0
        change = Change(former, level, self._cause or cause, source, seconds, refused=refused)
        for listener in self._listeners:
            listener(change)
        self._note(change)

    # -- telling -------------------------------------------------------------------------------

    def _note(self, change: Change) -> None:
        """Tell of a change now, or together with others when there were many lately."""
        if self._untold is not None:
            self._untold = _together(self._untold, change)
            return
        now = self._clock.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._tokens_at) / REFILL)
        self._tokens_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            self._tell(change)
            return
        self._untold = change
        wait = (1 - self._tokens) * REFILL
        self._telling = get_running_loop().call_later(wait, self._tell_rest)

    def _tell_rest(self) -> None:
        self._telling = None
        change, self._untold = self._untold, None
        if change is not None:
            self._tokens, self._tokens_at = 0.0, self._clock.monotonic()
            self._tell(change)

    def _tell(self, change: Change) -> None:
        now = self._clock.now()
        say = (_log.info, _log.warning, _log.error)[change.level]
        say(
            f"audit state: {change.level.word}",
            former=change.former.word,
            cause=change.cause,
            source=change.source,
            seconds=round(change.seconds, 3),
            **({"changes": change.count} if change.count > 1 else {}),
            **({"refused_calls": change.refused} if change.refused else {}),
        )
        detail: dict[str, str | int | bool | list[str]] = {
            "from": change.former.word,
            "to": change.level.word,
            "cause": change.cause,
            "source": change.source,
            "seconds": f"{change.seconds:.3f}",
        }
        if change.count > 1:
            detail["changes"] = change.count
        if change.refused:
            detail["refusedCalls"] = change.refused
        event = SystemEvent(
            event_id=new_id(now),
            stage_timestamp=rfc3339(now),
            action="audit.state",
            outcome=change.level.word,
            detail=detail,
        )
        self.record(event)

    def record(self, event: SystemEvent) -> None:
        """Record `event`; kept, and handed over later, while the journal takes nothing."""
        self._kept.append(body(event))
        self._hand_over()

    def _hand_over(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        if self._post is None:
            return
        try:
            while self._kept:
                self._post(self._kept[0])
                self._kept.popleft()
        except JournalUnavailableError:
            self._keeping = get_running_loop().call_later(_RETRY, self._hand_over)


def _together(first: Change, second: Change) -> Change:
    """Two changes as one, from the state before the first to the state after the second."""
    return Change(
        former=first.former,
        level=second.level,
        cause=second.cause,
        source=second.source,
        seconds=first.seconds + second.seconds,
        count=first.count + second.count,
        refused=first.refused + second.refused,
    )
