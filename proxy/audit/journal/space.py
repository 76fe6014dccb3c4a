"""The space the journal has left: looked at every second, told about before it is gone.

Warnings at 20, 10 and 5 % free, once for each crossing and once more when it is better again. Below
5 % the gate is degraded. Files count as bytes do: a volume without inodes takes no new segment.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from proxy.audit.event import SystemEvent, new_id
from proxy.audit.gate import Gate, Level
from proxy.clock import Clock, rfc3339
from proxy.metrics import Metrics
from proxy.tasks import cancel, spawn

_log = structlog.get_logger(__name__)

STEPS: Final = (0.20, 0.10, 0.05)
"""Free parts of the volume at which we warn; below the last one the record is in danger."""
HYSTERESIS: Final = 0.01
"""Free space must be this much above a step before it counts as left behind."""
INTERVAL: Final = 1.0
"""Seconds between looks."""
SOURCE: Final = "space"

Statvfs = Callable[[Path], os.statvfs_result]


@dataclass(frozen=True, slots=True)
class Room:
    """What a volume has left."""

    free: int
    """Bytes that an ordinary user may still write."""
    ratio: float
    """Free part of the space or of the inodes, whichever is less: 0 to 1."""
    of: str
    """Of what the ratio is: `space` or `inodes`."""

    @property
    def words(self) -> str:
        """For people: `4.2 % of the space free (1.3 GiB)`."""
        return f"{self.ratio * 100:.1f} % of the {self.of} free ({_size(self.free)} left)"


def room(found: os.statvfs_result) -> Room:
    """What `statvfs` says, as df(1) counts it: what is reserved for root is not free."""
    space = _ratio(found.f_bavail, found.f_blocks - found.f_bfree)
    inodes = _ratio(found.f_favail, found.f_files - found.f_ffree)
    free = found.f_bavail * found.f_frsize
    return Room(free, inodes, "inodes") if inodes < space else Room(free, space, "space")


def _ratio(free: int, used: int) -> float:
    """The free part. A filesystem that counts none (btrfs has no inodes to count) is not full."""
    return free / (free + used) if free + used > 0 else 1.0


def _size(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size // 1024} KiB"


def step_of(ratio: float, former: int) -> int:
    """How many of STEPS are crossed at `ratio`, after `former` were: 0 is plenty."""
    crossed = sum(ratio < step for step in STEPS)
    kept = sum(ratio < step + HYSTERESIS for step in STEPS[:former])
    return max(crossed, kept)


class Space:
    """Watches one directory's volume. Used from one event loop."""

    def __init__(
        self,
        directory: Path,
        gate: Gate,
        *,
        clock: Clock,
        metrics: Metrics,
        statvfs: Statvfs = os.statvfs,
    ) -> None:
        self._directory = directory
        self._gate = gate
        self._clock = clock
        self._metrics = metrics
        self._statvfs = statvfs
        self._step = 0
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look once, then again every second until `close`."""
        await self.look()
        self._task = spawn(self._watch(), name="space of the journal")

    async def close(self) -> None:
        """Stop looking. Idempotent."""
        await cancel(self._task)

    def wake(self) -> None:
        """Look at once: a write said that there is no space."""
        self._wanted.set()

    async def look(self) -> None:
        """Look now, and tell what changed."""
        try:
            # Not on the loop: on a network filesystem that is away it does not return.
            found = room(await asyncio.to_thread(self._statvfs, self._directory))
        except OSError as error:
            why = f"the space of {self._directory} cannot be read: {error.strerror or error}"
            self._gate.report(SOURCE, Level.DEGRADED, why)
            return
        self._metrics.journal_free_ratio.set(found.ratio)
        former, self._step = self._step, step_of(found.ratio, self._step)
        if self._step == len(STEPS):
            # Without the figure, which changes all the time: the same cause is said once.
            least = f"less than {STEPS[-1]:.0%} of the {found.of} of its volume is free"
            self._gate.report(SOURCE, Level.DEGRADED, f"the journal fills its disk: {least}")
        else:
            self._gate.report(SOURCE, Level.OK)
        if self._step != former:
            self._tell(found, former)

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            await self.look()

    def _tell(self, found: Room, former: int) -> None:
        """Log and record a crossing, in either direction."""
        worse = self._step > former
        step = STEPS[self._step - 1] if worse else STEPS[self._step]
        say = _log.warning if worse else _log.info
        say(
            "the journal's volume fills" if worse else "the journal's volume has room again",
            directory=str(self._directory),
            free=found.words,
            threshold=f"{step:.0%}",
        )
        now = self._clock.now()
        self._gate.record(
            SystemEvent(
                event_id=new_id(now),
                stage_timestamp=rfc3339(now),
                action="journal.space",
                target=str(self._directory),
                outcome="ok" if self._step == 0 else "low",
                detail={
                    "freeBytes": found.free,
                    "freeRatio": f"{found.ratio:.4f}",
                    "of": found.of,
                    "threshold": f"{step:.2f}",
                    "crossed": "down" if worse else "up",
                },
            )
        )
