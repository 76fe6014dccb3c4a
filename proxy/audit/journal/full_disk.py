"""A full disk: records go to the reserve, few calls go on, and the way back is tried. On the loop."""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import Final

from proxy.audit.journal.condition import Condition
from proxy.audit.journal.opening import Files
from proxy.audit.journal.waiting import Waiting
from proxy.audit.journal.worker import Job, Worker
from proxy.audit.port import unavailable
from proxy.metrics import Metrics

_LOOK: Final = 0.25
"""Seconds between attempts to leave the reserve."""
_MAKE: Final = 1.0
"""Seconds between attempts to make the reserve while there is no room for it."""
_KEPT_BACK: Final = 8
"""One part in so many of the reserve is only for what calls under way still have to say."""


class FullDisk:
    """Says what may still be written, and looks for room until there is some.

    `refuse` is called with a reason when only the reserve is left, `probe` when a segment is ready
    for the record that proves that there is room again.
    """

    def __init__(
        self,
        files: Files,
        worker: Worker,
        waiting: Waiting,
        condition: Condition,
        metrics: Metrics,
        loop: AbstractEventLoop,
        *,
        refuse: Callable[[str], None],
        probe: Callable[[], None],
    ) -> None:
        self._segments = files.segments
        self._reserve = files.reserve
        self._worker = worker
        self._waiting = waiting
        self._condition = condition
        self._gauge = metrics.journal_reserve_bytes
        self._loop = loop
        self._refuse = refuse
        self._probe = probe
        self.size = 0
        """Length of the reserve that records go to now; 0 when they do not, or it fails too."""
        self._looking = False
        self._stopped = False
        self._timers: list[TimerHandle | None] = [None, None]
        self._gauge.set(self._reserve.size)

    @property
    def left(self) -> int:
        """Bytes that break-glass calls may still use now."""
        return max(self._room() - self.size // _KEPT_BACK, 0) if self.size else 0

    def takes(self, size: int) -> bool:
        """Whether a call's record of `size` bytes still goes to the reserve."""
        return self.size > 0 and self._room() > size

    def takes_posts(self) -> bool:
        """Whether records that no call waits for do: half of it is for calls."""
        return self._room() >= self.size // 2

    def enter(self) -> None:
        """Records go to the reserve from now on."""
        self.size = self._segments.reserve_room
        self._gauge.set(self.size)
        self._refuse("the disk is full, only its reserve is left")
        self._look_later()

    def leave(self) -> None:
        """Records go elsewhere, or nowhere."""
        self.size = 0

    def keep(self) -> None:
        """Have the thread make the reserve anew, unless it is there."""
        if not self._reserve.complete and not self._stopped:
            self._worker.put(Job(self._reserve.make, self._kept))

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        for timer in self._timers:
            if timer is not None:
                timer.cancel()

    def _room(self) -> int:
        return self._segments.reserve_room - self._waiting.size

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._timers[0] = self._loop.call_later(_LOOK, self._look)

    def _look(self) -> None:
        self._worker.put(Job(self._segments.prepare, self._looked))

    def _looked(self, error: Exception | None, _seconds: float) -> None:
        self._looking = False
        if self._stopped or not self.size:
            return
        self._gauge.set(max(self._room(), 0))
        if error is None:
            self._probe()
        else:
            self._look_later()

    def _kept(self, error: Exception | None, _seconds: float) -> None:
        cause = str(unavailable("the reserve cannot be made", error)) if error is not None else ""
        self._condition.no_reserve(cause)
        self._gauge.set(self._reserve.size)
        if error is not None and not self._stopped:
            self._timers[1] = self._loop.call_later(_MAKE, self.keep)
