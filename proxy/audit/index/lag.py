"""How far the index is behind the journals, measured at the journals: true also while it is away."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from proxy.audit.index.store import Position
from proxy.audit.index.tailing import START, JournalTail
from proxy.audit.journal.records import CorruptJournalError
from proxy.clock import Clock
from proxy.metrics import Metrics

_log = structlog.get_logger(__name__)

INTERVAL: Final = 1.0
"""Seconds between measurements."""
_PIECE: Final = 64 * 1024
"""Bytes of a journal read to find the oldest record that is not in the index."""
_MICROS: Final = 1_000_000


class Behind(NamedTuple):
    """What one journal has that the index has not."""

    records: int
    oldest: int
    """When the oldest of them was made, µs since the epoch."""


class Lag:
    """How far the journals that one indexer carries are ahead of the index."""

    def __init__(
        self, journals: Callable[[], list[Path]], *, clock: Clock, metrics: Metrics
    ) -> None:
        self._journals = journals
        self._clock = clock
        self._metrics = metrics
        self._positions: dict[Path, Position] = {}
        self.records = 0
        """Records that were not in the index at the last look."""

    def moved(self, directory: Path, position: Position) -> None:
        """The index holds the journal in `directory` up to `position`."""
        self._positions[directory] = position

    def level(self) -> None:
        """The index holds everything."""
        self._say(0, 0.0)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            with contextlib.suppress(OSError, CorruptJournalError):  # the indexer says so, too
                await self.measure()

    async def measure(self) -> None:
        """Look at every journal. Raises OSError and CorruptJournalError."""
        found = await asyncio.to_thread(self._measured)
        records = sum(behind.records for behind in found)
        oldest = min((behind.oldest for behind in found), default=None)
        age = self._clock.now() - oldest / _MICROS if oldest is not None else 0.0
        self._say(records, max(age, 0.0))

    def _measured(self) -> list[Behind]:
        directories = self._journals()
        found = (_behind(path, self._positions.get(path, START)) for path in directories)
        return [behind for behind in found if behind is not None]

    def _say(self, records: int, seconds: float) -> None:
        self.records = records
        self._metrics.index_lag_records.set(records)
        self._metrics.index_lag_seconds.set(seconds)


def _behind(directory: Path, position: Position) -> Behind | None:
    tail = JournalTail(directory, position, chunk=_PIECE)
    step = tail.step()
    if step is None:
        return None
    return Behind(max(tail.last() - position.seq, 1), step.rows[0].at)
