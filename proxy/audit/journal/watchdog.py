"""The watchdog: no record waits for the disk longer than its deadline. On the loop.

One timer, awake only while records wait; it notes how many were queued when, and looks again in a
while. A mark older than the deadline whose records are not durable is overdue.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable
from typing import Final

from proxy.audit.journal.waiting import Waiting
from proxy.clock import Clock

_TICK: Final = 0.02
"""Seconds between looks; a deadline may be overrun by two of them."""


class Watchdog:
    """Looks after the records of one queue.

    `overdue` is called with the number of records, counted from the first ever queued, that have
    waited too long; `look` at each tick while any wait, and once when none does any more.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        clock: Clock,
        waiting: Waiting,
        deadline: float,
        *,
        overdue: Callable[[int], None],
        look: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._waiting = waiting
        self._deadline = deadline
        self._overdue = overdue
        self._look = look
        self._marks: deque[tuple[float, int]] = deque()
        """(time, records queued until then), oldest first."""
        self._due = 0.0
        self._timer: TimerHandle | None = None

    def wake(self) -> None:
        """A record was queued: watch until none waits."""
        if self._timer is None:
            self._watch(self._clock.monotonic())

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        waiting = self._waiting
        if waiting.idle:
            self._marks.clear()
            self._timer = None
            self._look()
            return
        now = self._clock.monotonic()
        marks = self._marks
        if marks and (late := self._loop.time() - self._due) > _TICK:
            # The loop was busy, so nothing can be said of the disk: this time does not count.
            self._marks = marks = deque((when + late, queued) for when, queued in marks)
        overdue = 0
        while marks and (now - marks[0][0] >= self._deadline):
            overdue = marks.popleft()[1]
        if overdue > waiting.settled:
            self._overdue(overdue)
        self._look()
        self._watch(now)

    def _watch(self, now: float) -> None:
        """Note what is queued now, and look again in a while."""
        queued = self._waiting.queued
        if not self._marks or self._marks[-1][1] != queued:
            self._marks.append((now, queued))
        self._due = self._loop.time() + _TICK
        self._timer = self._loop.call_later(_TICK, self._tick)
