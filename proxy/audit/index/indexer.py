"""The indexer: carries what the journals hold into the index, and tells live listeners.

At least once from the journal, exactly once in the table: a journal's position moves in the
transaction that adds its rows. With an index of our own, one indexer reads the journals of all
writers of the data directory, also of those that are dead; `proxy.audit.index.shipping` is the indexer
of an index that others fill, too.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import structlog

from proxy.audit.index.lag import Lag
from proxy.audit.index.listeners import Listeners, Subscription
from proxy.audit.index.query import Filter
from proxy.audit.index.store import Index, Position
from proxy.audit.index.tailing import START, JournalTail, Step, writer_of
from proxy.clock import Clock
from proxy.errors import KubewitnessError
from proxy.metrics import Metrics
from proxy.tasks import cancel, spawn

_log = structlog.get_logger(__name__)

SILENCE: Final = 10.0
"""Seconds without a complete pass after which the index counts as not kept level."""


def everything(slot: str) -> bool:
    """Carry the journal of every slot."""
    del slot
    return True


class Indexer:
    """Keeps `index` level with those journals below `directory` whose slots `carries` picks."""

    poll = 0.05
    """Seconds between looks at the journals while nothing wakes us."""
    gather = 0.03
    """Seconds of records that one transaction takes together while they keep coming."""
    retry = 1.0
    """Seconds to wait after the index or a journal failed us."""

    def __init__(
        self,
        directory: Path,
        index: Index,
        *,
        clock: Clock,
        metrics: Metrics | None = None,
        carries: Callable[[str], bool] = everything,
    ) -> None:
        self._directory = directory
        self._index = index
        self._clock = clock
        self._carries = carries
        self._tails: dict[Path, JournalTail] = {}
        self._listeners = Listeners()
        self._wake = asyncio.Event()
        self._one_pass = asyncio.Lock()
        self._ended_at = clock.monotonic()
        self._trouble = ""
        self.aside = ""
        """Why some journals are left out of passes that end well; empty while none is."""
        self.lag = Lag(self._journals, clock=clock, metrics=metrics or Metrics())

    def wake(self) -> None:
        """There is something new; for a writer in this process (`JournalWriter.on_durable`)."""
        self._wake.set()

    @contextlib.asynccontextmanager
    async def subscribe(
        self, given: Filter | None = None, size: int = 1000
    ) -> AsyncIterator[Subscription]:
        """See Looks."""
        with self._listeners.join(given, size) as subscription:
            yield subscription

    def failure(self) -> str:
        """Why the index is not kept level; empty while it is."""
        silent = self._clock.monotonic() - self._ended_at
        cause = self._trouble
        if not cause and silent > SILENCE:
            cause = f"no pass has ended for {silent:.0f} s"
        cause = cause or self.aside
        if not cause:
            return ""
        return f"{cause}; {self.lag.records} records are not in the index yet"

    async def run(self) -> None:
        """Index until cancelled. Trouble is logged and tried again; calls never wait for it."""
        measuring = spawn(self.lag.run(), name="index lag")
        try:
            while True:
                await self._once()
        finally:
            await cancel(measuring)

    async def _once(self) -> None:
        self._wake.clear()  # before we look: who wakes us meanwhile has more
        try:
            added = await self._pass_alone()
        except (KubewitnessError, OSError) as error:
            # Without the hint: what it means for calls depends on who asks.
            self.fares(error.message if isinstance(error, KubewitnessError) else str(error))
            await asyncio.sleep(self.pause())
            return
        except Exception as error:  # noqa: BLE001  # a driver's defect must not end the proxy
            _log.exception("index is behind")
            self.fares(f"{type(error).__name__}: {error}")
            await asyncio.sleep(self.retry)
            return
        self.fares("")
        if added and self.gather:
            await asyncio.sleep(self.gather)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.poll):
                await self._wake.wait()

    def fares(self, trouble: str) -> None:
        """Note how the last pass went: why it failed, or nothing."""
        if trouble and trouble != self._trouble:
            _log.warning("index is behind", error=trouble, retry_seconds=self.retry)
        if self._trouble and not trouble:
            _log.info("index is kept level again")
        self._trouble = trouble

    def pause(self) -> float:
        """Seconds to wait after the failure that was noted last."""
        return self.retry

    async def catch_up(self) -> int:
        """Index everything that is durable now; returns how many rows were added.

        May be called by several at once: each gets a pass that began after it asked. Raises
        UnavailableError, CorruptJournalError and OSError; then no position has moved without its
        rows.
        """
        return await self._pass_alone()

    async def _pass_alone(self) -> int:
        # Two passes at a time would read the same step and tell listeners twice.
        async with self._one_pass:
            added = await self._pass()
            self._ended_at = self._clock.monotonic()
            if not self.aside:
                self.lag.level()
            return added

    async def _pass(self) -> int:
        added = 0
        try:
            await self._find_journals()
            for directory, tail in list(self._tails.items()):
                added += await self._follow(directory, tail)
        except BaseException:
            self._tails.clear()  # where we are is what the index says
            raise
        return added

    async def _follow(self, directory: Path, tail: JournalTail) -> int:
        """Index one journal to its end; returns how many rows were added."""
        added = 0
        step = await asyncio.to_thread(tail.step)
        while step is not None:
            tail.accept(step)
            # Far behind, the next rows are read while these are inserted. Near the end they are
            # read after it, so that they include what came meanwhile.
            ahead = spawn(asyncio.to_thread(tail.step), name="read journal") if step.more else None
            try:
                await self._insert(tail.writer, step)
            except BaseException:
                if ahead is not None:
                    await asyncio.wait([ahead])
                raise
            self._indexed(directory, tail.writer, step)
            added += len(step.rows)
            step = await (ahead or asyncio.to_thread(tail.step))
        return added

    async def _insert(self, writer: str, step: Step) -> None:
        if step.rewind is not None:
            _log.info("journal rewrites its end", writer=writer, first=step.rewind)
            await self._index.rewind(writer, step.rewind)
        await self._index.insert(step.rows, writer, step.position)

    def _indexed(self, directory: Path, writer: str, step: Step) -> None:
        """The rows of `step` are in the index."""
        del writer
        self.lag.moved(directory, step.position)
        self._listeners.tell(step.rows)

    async def _find_journals(self) -> None:
        found = await asyncio.to_thread(self._journals)
        new = self._new(found)
        if not new:
            return
        positions = await self._positions()
        for directory in new:
            if writer := await asyncio.to_thread(writer_of, directory):
                await self._begin(directory, writer, positions.get(writer, START))

    def _new(self, found: list[Path]) -> list[Path]:
        """Those of the journals that are there that we do not follow yet."""
        return [directory for directory in found if directory not in self._tails]

    async def _positions(self) -> dict[str, Position]:
        return await self._index.positions()

    async def _begin(self, directory: Path, writer: str, position: Position) -> None:
        """Follow a journal from where the index is."""
        del writer
        self.lag.moved(directory, position)
        self._tails[directory] = JournalTail(directory, position)

    def _journals(self) -> list[Path]:
        """The directories of the slots that we carry."""
        try:
            found = sorted(path for path in self._directory.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []
        return [path for path in found if self._carries(path.name)]
