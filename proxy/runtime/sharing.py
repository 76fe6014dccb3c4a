"""A process's side of a database that replicas share: ship its journal there, and wait when told to.

`audit.ack: local` goes on without the database, degraded and behind; `replicated` refuses calls
while it is away, or takes nothing of the journal that they are recorded in. A journal that is only
carried, and that the database contradicts, closes nothing: the state is degraded.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import structlog

from proxy.audit.gate import Gate, Level
from proxy.audit.index.listeners import Subscription
from proxy.audit.index.live import LiveRows
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.identity import KnownServer
from proxy.audit.index.query import Filter
from proxy.audit.index.shipping import PATIENCE, Shipper
from proxy.audit.index.tailing import JournalTail, writer_of
from proxy.audit.journal.instance import writer_id
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import Journal
from proxy.audit.replication import SOURCE, ReplicatedJournal
from proxy.clock import Clock
from proxy.data_dir import DataDir
from proxy.errors import KubewitnessError, UnavailableError
from proxy.metrics import Metrics
from proxy.settings import Settings

_log = structlog.get_logger(__name__)

CARRIED: Final = "carried"
"""Under which journals that this process only carries report to the gate."""
_LAST_PASS: Final = 3.0
"""Seconds that the last records get to arrive when the process stops."""
_LOOK: Final = 0.03
"""Seconds until the second look for what the workers have shipped; each later one waits double."""
_LONGEST_LOOK: Final = 0.5
"""Seconds between looks, at most."""


class Sharing:
    """The shipper of one process, and the journal that its callers wait on."""

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        slot: str,
        journal: JournalWriter,
        gate: Gate,
        *,
        clock: Clock,
        metrics: Metrics,
        carries: Callable[[str], bool],
    ) -> None:
        known = KnownServer(DataDir(directory.parent).database_server)
        self.index = PostgresIndex(settings.database, known)
        self.shipper = Shipper(
            directory,
            self.index,
            clock=clock,
            metrics=metrics,
            carries=carries,
            durable={slot: lambda: journal.durable},
        )
        self._gate = gate
        self._metrics = metrics
        self._replicated: ReplicatedJournal | None = None
        if settings.audit.ack == "replicated":
            writer = writer_id(directory.parent, slot)
            self._replicated = ReplicatedJournal(
                journal, writer, gate, settings.journal, clock=clock
            )
            self.shipper.on_indexed(self._replicated.committed)
            self.shipper.gather = 0.0  # somebody waits for each of them
        self.recorder: Journal = self._replicated or journal
        self.shipper.on_change(self._changed)
        self.shipper.on_aside(self._aside)
        journal.on_durable(self.shipper.wake)

    def _changed(self, trouble: str) -> None:
        self._metrics.database_up.set(0 if trouble else 1)
        if self._replicated is not None:
            self._replicated.database(trouble)
        else:
            self._gate.report(SOURCE, Level.DEGRADED if trouble else Level.OK, trouble)

    def _aside(self, why: str) -> None:
        # No call is recorded in those: even with `replicated` none has less of a record for it.
        self._gate.report(CARRIED, Level.DEGRADED if why else Level.OK, why)

    async def require(self) -> None:
        """Raise SettingsError when the database has no index of ours, or an older one.

        One that is away now, or does not keep what it commits, stops nobody from starting.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await self.index.attest()
        except (UnavailableError, TimeoutError) as error:
            why = error.message if isinstance(error, UnavailableError) else "it does not answer"
            _log.warning("the database takes no records now", error=why)
            self._changed(why)

    async def close(self) -> None:
        """Ship what is left, for a moment, and let go of the database. The journal goes before."""
        with contextlib.suppress(TimeoutError, KubewitnessError, OSError):
            async with asyncio.timeout(_LAST_PASS):
                await self.shipper.catch_up()
        if self._replicated is not None:
            self._replicated.close()
        await self.index.close()


class SharedLooks:
    """What looks at the log need of a shared index. Implements `proxy.audit.index.listeners.Looks`."""

    def __init__(self, sharing: Sharing, journals: Path) -> None:
        self._sharing = sharing
        self._journals = journals
        self._there: dict[str, int] = {}
        """By writer, a sequence up to which the index has it: what we shipped, what we asked."""
        self._asking = asyncio.Lock()
        self._pause = _LOOK
        sharing.shipper.on_indexed(self._note)
        sharing.shipper.on_change(self._changed)
        self.live = LiveRows(sharing.index)

    def _note(self, writer: str, seq: int) -> None:
        self._there[writer] = max(seq, self._there.get(writer, 0))

    def _changed(self, trouble: str) -> None:
        if trouble:
            self._there.clear()  # what answers next may be another server

    async def catch_up(self) -> None:
        """See Looks; waits for what this replica's workers ship, too. The caller bounds it."""
        wanted = await asyncio.to_thread(_ends, self._journals)
        await self._sharing.shipper.catch_up()
        while self._lacks(wanted):
            async with self._asking:  # one asks for all who wait
                if self._lacks(wanted):
                    await self._ask(wanted)

    async def _ask(self, wanted: Mapping[str, int]) -> None:
        """See how far the index is, and wait a while when that is not far enough."""
        for writer, position in (await self._sharing.index.positions()).items():
            self._note(writer, position.seq)
        if self._lacks(wanted):
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_LOOK)
        else:
            self._pause = _LOOK

    def _lacks(self, wanted: Mapping[str, int]) -> bool:
        return any(self._there.get(writer, -1) < seq for writer, seq in wanted.items())

    def subscribe(
        self, given: Filter | None = None, size: int = 1000
    ) -> AbstractAsyncContextManager[Subscription]:
        """See Looks: rows of every process and replica."""
        return self.live.subscribe(given, size)


def _ends(journals: Path) -> dict[str, int]:
    """The last sequence of each journal here, by writer."""
    ends = {}
    for slot in journals.iterdir():
        if slot.is_dir() and (writer := writer_of(slot)):
            ends[writer] = JournalTail(slot).last()
    return ends
