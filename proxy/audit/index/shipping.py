"""Shipping: an indexer whose index is shared with other processes and replicas (PostgreSQL).

The index outlives this machine, so only durable records go there, and it is the index that says
how far each journal is in it. A journal that does not hold what the index has of it (its volume
was restored from an older copy, or somebody added records with our login) is set aside until a
person has looked. Where the calls of this process are recorded in it, that is trouble; the others
go on without it.

A short interruption is bridged: only when a second attempt fails does the database count as down.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

from proxy.audit.index.indexer import Indexer, everything
from proxy.audit.index.store import ForeignRecordsError, Position, SharedIndex
from proxy.audit.index.tailing import JournalTail, Step, seek
from proxy.clock import Clock
from proxy.errors import KubewitnessError, UnavailableError
from proxy.metrics import Metrics

PATIENCE: Final = 5.0
"""Seconds after which a database that does not answer counts as down."""
ATTEST: Final = 60.0
"""Seconds between looks at whether the database keeps what it commits, and has what is ours."""
PROBE: Final = 1.0
"""Seconds without any answer of the database after which it is asked for one."""
WAY_OUT: Final = (
    "nothing more of it is shipped; move journal/ and instance out of the data directory, keep"
    " them, and start again (README, Several replicas)"
)
"""What to do about a journal that was set aside."""


class Shipper(Indexer):
    """Keeps a shared index level with the journals of this process's slots.

    `durable` says, by slot, what the writers of this process have acknowledged: nothing beyond it
    is shipped, even where it can be read. The other slots we only carry.
    """

    poll = PROBE
    retry = 0.25

    def __init__(
        self,
        directory: Path,
        index: SharedIndex,
        *,
        clock: Clock,
        metrics: Metrics,
        carries: Callable[[str], bool] = everything,
        durable: Mapping[str, Callable[[], int]] | None = None,
    ) -> None:
        super().__init__(directory, index, clock=clock, metrics=metrics, carries=carries)
        self._shared = index
        self._durable = durable or {}
        self._attested_at: float | None = None
        self._listed_at: float | None = None
        self._answered_at = self._probed_at = clock.monotonic()
        self._failed = 0
        self._on_indexed: list[Callable[[str, int], None]] = []
        self._on_change: list[Callable[[str], None]] = []
        self._on_aside: list[Callable[[str], None]] = []
        self._foreign: dict[Path, str] = {}
        """The journals that were set aside, and what the index has of their writers."""

    def on_indexed(self, callback: Callable[[str, int], None]) -> None:
        """Call `callback` with a writer and the sequence up to which the index has committed it."""
        self._on_indexed.append(callback)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call `callback` after each pass with why the database is down, or nothing."""
        self._on_change.append(callback)

    def on_aside(self, callback: Callable[[str], None]) -> None:
        """Call `callback` after each pass with why journals that we only carry are set aside.

        With nothing when none is. Not while the database is down: nobody knows then.
        """
        self._on_aside.append(callback)

    async def catch_up(self) -> int:
        """See Indexer. Raises ForeignRecordsError also for a journal that we only carry."""
        added = await super().catch_up()
        if self.aside:
            raise _error(self.aside)
        return added

    def fares(self, trouble: str) -> None:
        """See Indexer; one failure alone is not trouble yet."""
        self._failed = self._failed + 1 if trouble else 0
        if self._failed == 1:
            return
        super().fares(trouble)
        for callback in self._on_change:
            callback(trouble)

    def pause(self) -> float:
        """See Indexer; what was cut may be whole again at once."""
        return 0.0 if self._failed == 1 else self.retry

    async def _pass(self) -> int:
        try:
            await self._attest()
            added = await super()._pass()
            await self._probe()
        except KubewitnessError:
            # What answers next may be another server, which has less: where we are is what it says.
            self._attested_at = self._listed_at = None
            self._tails.clear()
            raise
        self._say_aside()
        if own := self._set_aside_of(own=True):
            raise _error(own)
        return added

    def _say_aside(self) -> None:
        self.aside = self._set_aside_of(own=False)
        for callback in self._on_aside:
            callback(self.aside)

    def _set_aside_of(self, *, own: bool) -> str:
        """Why journals of this process's writers, or those that we only carry, are set aside."""
        found = [
            why
            for directory, why in self._foreign.items()
            if (directory.name in self._durable) is own
        ]
        return "; ".join([*found, WAY_OUT]) if found else ""

    async def _attest(self) -> None:
        now = self._clock.monotonic()
        if self._attested_at is None or now - self._attested_at >= ATTEST:
            async with self._patience():
                await self._shared.attest()
            self._attested_at = now
            # Looked at again: that reads up to a segment, which calls would wait for each second.
            self._foreign.clear()
            self._listed_at = None

    async def _probe(self) -> None:
        """Ask whether the ends of our journals in the database are still ours.

        While nothing is shipped one of them now and then, to see whether the database answers.
        """
        now = self._clock.monotonic()
        all_of_them = now - self._probed_at >= ATTEST
        if not all_of_them and now - self._answered_at < PROBE:
            return
        if all_of_them:
            self._probed_at = now
        for directory, tail in list(self._tails.items())[: None if all_of_them else 1]:
            async with self._patience():
                later = await self._shared.after(tail.writer, tail.position.seq, 1)
            if later:
                self._set_aside(directory, _other_records(tail.writer, later[0].seq))

    def _set_aside(self, directory: Path, why: str) -> None:
        self._tails.pop(directory, None)
        self._foreign[directory] = why

    async def _follow(self, directory: Path, tail: JournalTail) -> int:
        try:
            return await super()._follow(directory, tail)
        except ForeignRecordsError as error:
            # The journals of the other slots are shipped all the same.
            self._set_aside(directory, error.message.rstrip("."))
            return 0

    async def _insert(self, writer: str, step: Step) -> None:
        async with self._patience():
            await super()._insert(writer, step)

    def _indexed(self, directory: Path, writer: str, step: Step) -> None:
        super()._indexed(directory, writer, step)
        self._tell(writer, step.position.seq)

    def _tell(self, writer: str, seq: int) -> None:
        for callback in self._on_indexed:
            callback(writer, seq)

    async def _find_journals(self) -> None:
        # Slots come with processes; there is no need to look before each commit.
        now = self._clock.monotonic()
        if not self._tails or self._listed_at is None or now - self._listed_at >= PROBE:
            await super()._find_journals()
            self._listed_at = now

    def _new(self, found: list[Path]) -> list[Path]:
        """See Indexer; a journal that we only carry stays aside until the next attestation."""
        self._foreign = {
            directory: why
            for directory, why in self._foreign.items()
            if directory in found and directory.name not in self._durable
        }
        return [directory for directory in super()._new(found) if directory not in self._foreign]

    async def _positions(self) -> dict[str, Position]:
        async with self._patience():
            return await super()._positions()

    async def _begin(self, directory: Path, writer: str, position: Position) -> None:
        if position.seq:
            place = await asyncio.to_thread(seek, directory, position.seq)
            async with self._patience():
                held = await self._shared.after(writer, position.seq - 1, 1)
            differs = place.line is not None and held and held[0].line != place.line
            if place.beyond or differs:
                self._set_aside(directory, _other_records(writer, position.seq))
                return
            position = place.position
        self.lag.moved(directory, position)
        # Also what an insert brought in whose answer was lost.
        self._tell(writer, position.seq)
        durable = self._durable.get(directory.name)
        self._tails[directory] = JournalTail(directory, position, sync=True, durable=durable)

    @contextlib.asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(PATIENCE):
                yield
        except TimeoutError as error:
            raise UnavailableError(f"the database has not answered for {PATIENCE:g} s") from error
        self._answered_at = self._clock.monotonic()


def _other_records(writer: str, seq: int) -> str:
    return f"the index holds other records of writer {writer} at sequence {seq} than its journal"


def _error(why: str) -> ForeignRecordsError:
    return ForeignRecordsError(
        why,
        hint="Was the data directory restored from an older copy, is it used twice, or did somebody"
        " add records with the login of serve?",
    )
