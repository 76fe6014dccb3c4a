"""The indexer as the control plane needs it: one can wait until it is level with the journals."""

import asyncio
from pathlib import Path

from proxy.audit.indexer import Indexer
from proxy.audit.store import Index
from proxy.clock import Clock
from proxy.metrics import Metrics


class AwaitedIndexer(Indexer):
    """An indexer that counts its passes."""

    def __init__(self, directory: Path, index: Index, *, clock: Clock, metrics: Metrics) -> None:
        super().__init__(directory, index, clock=clock, metrics=metrics)
        self._begun = 0
        self._ended = 0
        self._passed = asyncio.Event()
        self._passing = asyncio.Lock()

    async def catch_up(self) -> int:
        """See Indexer. One pass at a time, whoever asks."""
        async with self._passing:
            self._begun += 1
            number = self._begun
            added = await super().catch_up()
        self._ended = number
        self._passed.set()
        return added

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
