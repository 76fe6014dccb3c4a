"""The indexer: carries what the journals hold into the index, and tells live listeners.

At least once from the journal, exactly once in the table: a journal's position moves in the
transaction that adds its rows. One indexer runs per data directory; it reads the journals of all
writers there, also of those that are dead.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import structlog

from proxy.audit.query import Filter, matches
from proxy.audit.rows import Row
from proxy.audit.store import Index
from proxy.audit.tailing import START, JournalTail, Step
from proxy.clock import Clock
from proxy.errors import KubewitnessError
from proxy.metrics import Metrics
from proxy.tasks import spawn

_log = structlog.get_logger(__name__)

POLL: Final = 0.05
"""Seconds between looks at the journals while nothing wakes us."""
_GATHER: Final = 0.03
"""Seconds of records that one transaction takes together while they keep coming."""
_RETRY: Final = 1.0
"""Seconds to wait after the index or a journal failed us."""
_LAG_INTERVAL: Final = 1.0
"""Seconds between measurements of how far we are behind."""
_MICROS: Final = 1_000_000


class Missed(msgspec.Struct, frozen=True):
    """A listener was too slow, and this many rows passed it by; a search finds them."""

    count: int


class Subscription:
    """Rows as they are indexed, for one listener: `async for item in subscription`."""

    def __init__(self, given: Filter, size: int) -> None:
        self.filter = given
        self._size = size
        self._rows: deque[Row] = deque()
        self._missed = 0
        self._wake = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[Row | Missed]:
        return self

    async def __anext__(self) -> Row | Missed:
        while not self._rows:
            self._wake.clear()
            await self._wake.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return Missed(missed)
        return self._rows.popleft()

    def offer(self, rows: Iterable[Row]) -> None:
        """Queue what the filter lets through; the oldest give way when the listener is slow."""
        for row in rows:
            if matches(row, self.filter):
                self._rows.append(row)
        while len(self._rows) > self._size:
            self._rows.popleft()
            self._missed += 1
        if self._rows:
            self._wake.set()


class Indexer:
    """Keeps `index` level with the journals below `directory`."""

    def __init__(
        self, directory: Path, index: Index, *, clock: Clock, metrics: Metrics | None = None
    ) -> None:
        self._directory = directory
        self._index = index
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._tails: dict[str, JournalTail] = {}
        self._subscriptions: list[Subscription] = []
        self._wake = asyncio.Event()
        self._one_pass = asyncio.Lock()
        self._measured = 0.0

    def wake(self) -> None:
        """There is something new; for a writer in this process (`JournalWriter.on_durable`)."""
        self._wake.set()

    @contextlib.contextmanager
    def subscribe(self, given: Filter | None = None, size: int = 1000) -> Iterator[Subscription]:
        """Listen, from now on, to the rows that `given` asks for; at most `size` wait."""
        subscription = Subscription(given or Filter(), size)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)

    async def run(self) -> None:
        """Index until cancelled. Trouble is logged and tried again; calls never wait for it."""
        while True:
            try:
                added = await self.catch_up()
                pause = POLL
            except (KubewitnessError, OSError) as error:
                _log.warning("index is behind", error=str(error), retry_seconds=_RETRY)
                added, pause = 0, _RETRY
            if added:
                await asyncio.sleep(_GATHER)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def catch_up(self) -> int:
        """Index everything that is durable now; returns how many rows were added.

        May be called by several at once: each gets a pass that began after it asked. Raises
        UnavailableError, CorruptJournalError and OSError; then no position has moved without its
        rows.
        """
        # Two passes at a time would read the same step and tell listeners twice.
        async with self._one_pass:
            return await self._pass()

    async def _pass(self) -> int:
        added = 0
        try:
            await self._find_journals()
            for tail in list(self._tails.values()):
                added += await self._follow(tail)
        except BaseException:
            self._tails.clear()  # where we are is what the index says
            raise
        self._metrics.index_lag_records.set(0)
        self._metrics.index_lag_seconds.set(0)
        return added

    async def _follow(self, tail: JournalTail) -> int:
        """Index one journal to its end, reading the next rows while the last are inserted."""
        added = 0
        step = await asyncio.to_thread(tail.step)
        while step is not None:
            tail.accept(step)
            reading = spawn(asyncio.to_thread(tail.step), name="read journal")
            try:
                await self._insert(tail.writer, step)
            except BaseException:
                await asyncio.wait([reading])
                raise
            self._tell(step)
            added += len(step.rows)
            await self._measure(tail, step)
            step = await reading
        return added

    async def _insert(self, writer: str, step: Step) -> None:
        if step.rewind is not None:
            _log.info("journal rewrites its end", writer=writer, first=step.rewind)
            await self._index.rewind(writer, step.rewind)
        await self._index.insert(step.rows, writer, step.position)

    def _tell(self, step: Step) -> None:
        for subscription in self._subscriptions:
            subscription.offer(step.rows)

    async def _find_journals(self) -> None:
        names = await asyncio.to_thread(_journals, self._directory)
        if all(name in self._tails for name in names):
            return
        positions = await self._index.positions()
        by_slot = {writer.partition("-")[2]: position for writer, position in positions.items()}
        for name in names:
            if name not in self._tails:
                position = by_slot.get(name, START)
                self._tails[name] = JournalTail(self._directory / name, position)

    async def _measure(self, tail: JournalTail, step: Step) -> None:
        """Say how far behind we are, now and then while we are."""
        now = self._clock.monotonic()
        if now - self._measured < _LAG_INTERVAL:
            return
        self._measured = now
        last = await asyncio.to_thread(tail.last)
        self._metrics.index_lag_records.set(max(last - step.position.seq, 0))
        age = self._clock.now() - step.rows[-1].at / _MICROS
        self._metrics.index_lag_seconds.set(max(age, 0))


def _journals(directory: Path) -> list[str]:
    """The slots that have a journal."""
    try:
        return sorted(path.name for path in directory.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
