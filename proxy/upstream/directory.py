"""Every registered cluster as a Target, by name: what the data plane asks for each call.

Changes of the state take effect at once: a removed cluster is gone with the snapshot that says so,
and a new one is refused with a reason until its credential is there.
"""

import asyncio
import contextlib
from dataclasses import replace
from typing import Final

import structlog

from proxy.clock import Clock
from proxy.errors import KubewitnessError
from proxy.reaching import Upstream
from proxy.state.repository import StateStore
from proxy.state.snapshot import EMPTY, ClusterRecord, Snapshot
from proxy.state.watcher import SnapshotWatcher
from proxy.tasks import cancel, spawn
from proxy.upstream.cluster import Target
from proxy.upstream.handle import TargetHandle, load_target

_RETRY_SECONDS: Final = 15.0
"""How long after a failed attempt a cluster's credential is tried again."""
_START_SECONDS: Final = 5.0
"""How long a start waits for credentials; slower ones arrive while calls are served."""
_log = structlog.get_logger(__name__)


class _Entry:
    """One cluster: loading, usable or failing."""

    def __init__(self, record: ClusterRecord, refusal: str) -> None:
        self.record = record
        self.handle: TargetHandle | None = None
        self.refusal = refusal
        """Why it is refused although it could be reached; set from outside."""
        self.attempted = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.previous: _Entry | None = None
        """The same cluster by its former account: in use until this one was tried."""
        self._missing = _absent(record.name, f"cluster {record.name!r} is being loaded")
        self._refused: tuple[Target, str, Target] | None = None

    def fail(self, why: str) -> None:
        self._missing = _absent(self.record.name, why)

    @property
    def target(self) -> Target:
        if self.handle is None and self.previous is not None:
            return self.previous.target
        current = self.handle.target if self.handle is not None else self._missing
        if not self.refusal or current.refused:
            return current
        # The same object while nothing changes: connections are pooled by it.
        if self._refused is None or self._refused[:2] != (current, self.refusal):
            self._refused = (current, self.refusal, replace(current, refused=self.refusal))
        return self._refused[2]


class ClusterDirectory:
    """Targets by cluster name, following the state."""

    def __init__(
        self, store: StateStore, watcher: SnapshotWatcher, settings: Upstream, *, clock: Clock
    ) -> None:
        self._store = store
        self._watcher = watcher
        self._settings = settings
        self._clock = clock
        # Where excess permissions are refused, no call may slip through before the first look.
        self._first_refusal = (
            "what the proxy's own account may do there has not been checked yet"
            if settings.excess_permissions == "refuse"
            else ""
        )
        self._entries: dict[str, _Entry] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def target(self, name: str) -> Target | None:
        """The cluster `name` as it is now, or None. A target with `refused` must not be used."""
        entry = self._entries.get(name)
        return None if entry is None else entry.target

    def names(self) -> list[str]:
        """Every cluster there is."""
        return sorted(self._entries)

    def ready(self, name: str) -> Target | None:
        """The target of `name` for our own questions: whatever `refuse` said, if it can be used."""
        entry = self._entries.get(name)
        if entry is None or entry.handle is None or entry.handle.target.refused:
            return None
        return entry.handle.target

    def record(self, name: str) -> ClusterRecord | None:
        """The record behind the present target of `name`."""
        entry = self._entries.get(name)
        return None if entry is None else entry.record

    def refuse(self, record: ClusterRecord, why: str) -> None:
        """Refuse calls to that very cluster, by that account, from now on; an empty `why` allows them again."""
        entry = self._entries.get(record.name)
        if entry is not None and not _differs(record, entry.record):
            entry.refusal = why

    def unauthorized(self, name: str) -> None:
        """The cluster answered 401 to us: look for a newer credential soon."""
        entry = self._entries.get(name)
        if entry is not None and entry.handle is not None:
            entry.handle.poke()

    async def start(self) -> None:
        """Follow the watcher from its current snapshot on.

        Returns when every cluster is usable or known not to be, or after five seconds.
        """
        self._watcher.listen(self._follow)
        self._apply(self._watcher.current)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self.settled()

    async def settled(self) -> None:
        """Wait until every cluster has been tried at least once."""
        for entry in list(self._entries.values()):
            await entry.attempted.wait()

    def _follow(self, _old: Snapshot, new: Snapshot) -> None:
        self._apply(new)

    def _apply(self, snapshot: Snapshot) -> None:
        former: dict[str, _Entry] = {}
        for name, entry in list(self._entries.items()):
            record = snapshot.clusters.get(name)
            if record is not None and not _differs(record, entry.record):
                entry.record = record
                continue
            del self._entries[name]
            if record is not None and _same_place(record, entry.record):
                former[name] = entry
            else:
                self._leave(entry)
        for name, record in snapshot.clusters.items():
            if name not in self._entries:
                entry = self._entries[name] = _Entry(record, self._first_refusal)
                entry.previous = former.get(name)
                entry.task = spawn(self._load(entry), name=f"loading cluster {name}")

    def _leave(self, entry: _Entry) -> None:
        task = spawn(_close(entry), name=f"leaving cluster {entry.record.name}")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Forget every cluster and stop all background work."""
        self._apply(EMPTY)
        while self._leaving:
            await asyncio.wait(self._leaving)

    async def _load(self, entry: _Entry) -> None:
        record = entry.record
        while entry.handle is None:
            try:
                entry.handle = await self._handle(record)
            except KubewitnessError as error:
                if not entry.attempted.is_set():
                    _log.warning("cluster cannot be used", cluster=record.name, error=str(error))
                entry.fail(f"the proxy's own credential there cannot be used: {error}")
            finally:
                entry.attempted.set()
                if entry.previous is not None:
                    self._leave(entry.previous)
                    entry.previous = None
            if entry.handle is None:
                await asyncio.sleep(_RETRY_SECONDS)
        if entry.handle.insecure:
            _log.warning("cluster is not verified", cluster=record.name, server=record.server)

    async def _handle(self, record: ClusterRecord) -> TargetHandle:
        document = None if record.in_cluster else self._store.kubeconfig(record)
        return await load_target(
            record.name,
            document,
            upstream=self._settings,
            in_cluster=record.in_cluster,
            clock=self._clock,
        )


async def _close(entry: _Entry) -> None:
    await cancel(entry.task)
    if entry.handle is not None:
        await entry.handle.close()
    if entry.previous is not None:
        await _close(entry.previous)


def _same_place(new: ClusterRecord, old: ClusterRecord) -> bool:
    return (new.id, new.server) == (old.id, old.server)


def _differs(new: ClusterRecord, old: ClusterRecord) -> bool:
    # A new note about our permissions is no reason to drop connections.
    return (new.id, new.sealed, new.in_cluster) != (old.id, old.sealed, old.in_cluster)


def _absent(name: str, why: str) -> Target:
    return Target(name=name, host="", port=0, refused=why)
