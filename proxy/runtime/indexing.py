"""The indexer as the control plane needs it: one can wait until it is level with the journals."""

import asyncio
from pathlib import Path
from typing import Final

from proxy.audit.indexer import Indexer
from proxy.audit.store import Index
from proxy.clock import Clock
from proxy.metrics import Metrics

SILENCE: Final = 10.0
"""Seconds without a complete pass after which the index counts as not kept level."""


class AwaitedIndexer(Indexer):
    """An indexer that counts its passes."""

    def __init__(self, directory: Path, index: Index, *, clock: Clock, metrics: Metrics) -> None:
        super().__init__(directory, index, clock=clock, metrics=metrics)
        self._begun = 0
        self._ended = 0
        self._passed = asyncio.Event()
        self._passing = asyncio.Lock()
        self._time = clock
        self._ended_at = clock.monotonic()

    async def catch_up(self) -> int:
        """See Indexer. One pass at a time, whoever asks."""
        async with self._passing:
            self._begun += 1
            number = self._begun
            added = await super().catch_up()
        self._ended = number
        self._ended_at = self._time.monotonic()
        self._passed.set()
        return added

    def failure(self) -> str:
        """Why the index is not kept level; empty while passes succeed. Calls go on without it."""
        silent = self._time.monotonic() - self._ended_at
        return f"no pass has ended for {silent:.0f} s" if silent > SILENCE else ""

    async def settled(self, seconds: float) -> bool:
        """Wait until the index holds what is durable now, so long at most; whether it does.

        A pass that had begun already may have passed by what is new, so the next one counts.
        """
        wanted = self._begun + 1
        self.wake()
        try:
            async with asyncio.timeout(seconds):
                while self._ended < wanted:
                    self._passed.clear()
                    await self._passed.wait()
        except TimeoutError:
            return False
        return True
