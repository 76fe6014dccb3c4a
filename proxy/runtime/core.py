"""What every process of a proxy has: its journal slot, the state, the clusters, its certificates.

Opened in the order things depend on each other, and closed the other way round.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from proxy.audit.gate import JOURNAL, Gate, Level
from proxy.audit.journal.filesystem import require_durable
from proxy.audit.journal.space import Space
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import Journal
from proxy.authn.keeping import Keeper
from proxy.authn.suspicion import Suspicion
from proxy.clock import Clock
from proxy.data_dir import DataDir
from proxy.gateway.listener import DataPlane
from proxy.metrics import Metrics
from proxy.runtime.following import LeadingWatcher
from proxy.runtime.identity import Identity
from proxy.runtime.patience import Patience
from proxy.runtime.sharing import Sharing
from proxy.settings import Settings
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import Snapshot
from proxy.upstream.checking import PermissionChecker
from proxy.upstream.directory import ClusterDirectory

T = TypeVar("T")
_log = structlog.get_logger(__name__)

MAIN_SLOT: Final = "main"
"""Journal of the process with the control plane, and of the data plane when it has no workers."""
SETTLE: Final = 0.8
"""Seconds a new cluster's credential is waited for; an exec plugin may take longer."""
STALE_STATE: Final = 5.0
"""Seconds without a look at the state database after which we are not ready."""


def worker_slot(number: int) -> str:
    """Journal slot of the worker `number`, from 1."""
    return f"worker-{number}"


def state_url(settings: Settings, data: DataDir) -> str:
    """Where clusters and credentials are."""
    return settings.database or sqlite_url(data.state_database)


@dataclass(frozen=True, slots=True)
class Core:
    """The parts; see the module."""

    settings: Settings
    data: DataDir
    clock: Clock
    metrics: Metrics
    gate: Gate
    journal: JournalWriter
    recorder: Journal
    """What calls and acts are recorded with: the journal, or it and the database."""
    sharing: Sharing | None
    """Our side of a database that replicas share; None with an embedded one."""
    store: StateStore
    watcher: LeadingWatcher
    directory: ClusterDirectory
    identity: Identity
    suspicion: Suspicion
    """What is known of the uses of credentials."""

    def data_plane(self) -> DataPlane:
        """The data plane on these parts, following the state; not started yet."""
        plane = DataPlane(
            settings=self.settings,
            clock=self.clock,
            metrics=self.metrics,
            journal=self.recorder,
            gate=self.gate,
            snapshot=lambda: self.watcher.current,
            target=self.directory.target,
            suspicion=self.suspicion,
            server_context=self.identity.gateway.context,
        )

        def changed(old: Snapshot, new: Snapshot) -> None:
            del old, new
            plane.state_changed()

        self.watcher.listen(changed)
        return plane

    async def settled(self) -> None:
        """Wait, a moment at most, until every cluster can be reached or is known not to be."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                await self.directory.settled()

    def trouble(self) -> str:
        """Why this process cannot serve calls now; empty when it can."""
        found = self.gate.failure or self.journal.failure
        return found if found or self.sharing is not None else self.state_failure()

    def state_failure(self) -> str:
        """Why the state may be out of date; empty when it is not.

        Calls go on with what was read last while a shared database is away. That is said at once;
        of an embedded one, which may be busy for a moment, only when it lasts.
        """
        stale, trouble = self.watcher.stale_seconds, self.watcher.trouble
        if stale <= STALE_STATE and (self.sharing is None or not trouble):
            return ""
        lasting = f"the state has not been read for {stale:.0f} s"
        return f"{lasting}: {trouble}" if trouble else lasting


@asynccontextmanager
async def open_core(
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
    *,
    slot: str,
    main: bool,
    patience: Patience | None = None,
) -> AsyncIterator[Core]:
    """Open the parts of one process; `main` for the one that issues certificates and checks.

    With `patience` a shared database that is away is waited for, before the journal is touched.
    Raises KubewitnessError saying which part cannot be opened and what to do, and StoppedError.
    """
    data = DataDir(settings.data_dir)
    doubt = require_durable(data.journal, settings)
    if doubt and main:
        _log.warning(doubt)
    async with AsyncExitStack() as stack:
        gate = Gate(clock=clock, metrics=metrics)
        identity = Identity(settings, data, clock, metrics, issuing=main)
        box = SecretBox.choose(settings.state_key_file, data.state_key)
        store, watcher = await _state(stack, settings, data, box, clock, patience)
        journal = await JournalWriter.open(
            data.path, slot, settings.journal, clock=clock, metrics=metrics
        )
        stack.push_async_callback(journal.close)
        gate.attach(journal.post)
        journal.on_state(lambda level, cause: gate.report(JOURNAL, Level(level), cause))
        stack.callback(gate.close)
        sharing = None
        metrics.database_up.set(0 if settings.database else 1)
        if settings.database:
            sharing = Sharing(
                settings,
                data.journal,
                slot,
                journal,
                gate,
                clock=clock,
                metrics=metrics,
                carries=_carried(settings, slot),
            )
            stack.push_async_callback(_leave, sharing.close)
            # Once more, so that it comes first: the last record is shipped, too.
            stack.push_async_callback(journal.close)
            stack.callback(gate.close)
            await sharing.require()
        if main:
            # The volume is the same for every worker: once is enough to watch it.
            space = Space(data.journal, gate, clock=clock, metrics=metrics)
            stack.push_async_callback(space.close)
            await space.start()
            gate.listen(lambda change: space.wake())
        # Once more, so that it comes first: nothing changes any more while the rest is closed.
        stack.push_async_callback(watcher.close)
        directory = ClusterDirectory(store, watcher, settings.upstream, clock=clock)
        checker = PermissionChecker(
            directory,
            watcher,
            settings.upstream,
            clock=clock,
            metrics=metrics,
            store=store if main else None,
        )
        stack.push_async_callback(directory.close)
        await directory.start()
        stack.push_async_callback(checker.close)
        checker.start()
        yield Core(
            settings,
            data,
            clock,
            metrics,
            gate,
            journal,
            sharing.recorder if sharing is not None else journal,
            sharing,
            store,
            watcher,
            directory,
            identity,
            await _suspicion(stack, settings, store, clock, metrics),
        )


async def _suspicion(
    stack: AsyncExitStack, settings: Settings, store: StateStore, clock: Clock, metrics: Metrics
) -> Suspicion:
    made = Suspicion(settings.suspicious, clock=clock, metrics=metrics)
    keeper = Keeper(made, store.sightings, clock=clock)
    stack.push_async_callback(keeper.close)
    await keeper.start()
    return made


async def _state(
    stack: AsyncExitStack,
    settings: Settings,
    data: DataDir,
    box: SecretBox,
    clock: Clock,
    patience: Patience | None,
) -> tuple[StateStore, LeadingWatcher]:
    """The state, read once and followed from then on; `stack` closes it."""

    async def within(attempt: Callable[[], Awaitable[T]]) -> T:
        # An embedded database does not come back by waiting.
        if patience is None or not settings.database:
            return await attempt()
        return await patience.until(attempt)

    url = state_url(settings, data)
    store = await within(lambda: StateStore.open(url, box, clock=clock))
    stack.push_async_callback(_leave, store.close)
    watcher = LeadingWatcher(store, clock=clock)
    stack.push_async_callback(watcher.close)
    await within(watcher.start)
    return store, watcher


async def _leave(close: Callable[[], Awaitable[None]]) -> None:
    """Let go of a database, which may be away, or going, at this very moment.

    The journal is closed by then and nobody waits: whatever a driver makes of it, the process ends
    in good order.
    """
    try:
        await close()
    except Exception as error:  # noqa: BLE001  # see above
        _log.warning("the database was not left in good order", error=repr(error))


def _carried(settings: Settings, slot: str) -> Callable[[str], bool]:
    """Whose journals the process in `slot` ships: its own; the main one also those of no process."""
    workers = settings.workers if settings.workers > 1 else 0
    others = {MAIN_SLOT, *(worker_slot(number + 1) for number in range(workers))} - {slot}
    if slot == MAIN_SLOT:
        return lambda found: found not in others
    return lambda found: found == slot
