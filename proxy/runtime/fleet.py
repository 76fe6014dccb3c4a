"""All workers of a proxy as one thing: started together, followed by the state, stopped together."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxy.audit.gate import Level
from proxy.clock import Clock
from proxy.errors import UnavailableError
from proxy.runtime.essential import Essentials
from proxy.runtime.multiprocess import forget
from proxy.runtime.supervisor import Worker
from proxy.settings import Settings
from proxy.tasks import cancel, spawn

START: Final = 60.0
"""Seconds all workers together get to become ready; a journal may have to be recovered first."""


class Fleet:
    """The workers; none when the data plane runs in the same process."""

    def __init__(
        self, slots: Sequence[str], settings: Settings, metrics: Path, clock: Clock
    ) -> None:
        self._workers = [
            Worker(slot, settings, clock, lambda pid: forget(metrics, pid)) for slot in slots
        ]

    async def start(self, essentials: Essentials, asked: asyncio.Event) -> None:
        """Start them and wait until all are ready, or until `asked` to end.

        Raises UnavailableError when they are not in time, and do not wait for anything either,
        EssentialTaskError when one gives up.
        """
        for worker in self._workers:
            essentials.start(worker.run(), worker.slot)
        over = asyncio.Event()
        waiting = spawn(self._all_ready(over), name="workers start")
        stopping = spawn(_set_after(asked, over), name="workers need not start")
        try:
            while not over.is_set():
                await self._wait(essentials, over)
        finally:
            await cancel(waiting, stopping)

    async def _wait(self, essentials: Essentials, over: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(START):
                await essentials.wait(over)
        except TimeoutError as error:
            if any(worker.waiting for worker in self._workers):
                return
            raise UnavailableError(
                f"Not every worker was ready within {START:.0f} s: {self.failure()}.",
                hint="Its own messages are in the log above.",
            ) from error

    async def _all_ready(self, over: asyncio.Event) -> None:
        for worker in self._workers:
            await worker.ready.wait()
        over.set()

    async def follow(self, version: int) -> None:
        """Return when every worker that serves has `version` of the state."""
        await asyncio.gather(*(worker.follow(version) for worker in self._workers))

    def failure(self) -> str:
        """What is wrong with any of them; empty when nothing is."""
        return "; ".join(filter(None, (worker.failure() for worker in self._workers)))

    def audit(self) -> list[tuple[Level, str]]:
        """The audit state of each, and why."""
        return [worker.audit() for worker in self._workers]

    async def stop(self, now: asyncio.Event) -> None:
        """Drain them all, cut when `now` is set, and wait until they ended."""
        await asyncio.gather(*(worker.stop(now) for worker in self._workers))


async def _set_after(first: asyncio.Event, then: asyncio.Event) -> None:
    await first.wait()
    then.set()
