"""Keeps one process's snapshot of the state current, whichever process changed it."""

import asyncio
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import msgspec
import structlog

from proxy.clock import Clock
from proxy.errors import KubewitnessError
from proxy.state.repository import StateStore
from proxy.state.snapshot import EMPTY, Snapshot
from proxy.tasks import cancel, spawn

Listener = Callable[[Snapshot, Snapshot], None]
"""Called with the former snapshot and the new one, on the event loop, right after the change."""

POLL_SECONDS: Final = 0.2
"""How old a snapshot can get. A fifth of the second in which a revocation must take effect."""
HEARING_POLL_SECONDS: Final = 0.5
"""The same where the database tells us of changes: still enough by itself when it does not."""
PRUNE_SECONDS: Final = 600.0
"""How often credentials that have ended are dropped from memory."""
_log = structlog.get_logger(__name__)


class SnapshotWatcher:
    """Holds the current snapshot and tells listeners about each new one.

    When the database does not answer, the last snapshot stays: calls go on with what is known
    (`stale_seconds` says how old it may be), and revoking needs the database anyway.
    """

    def __init__(self, store: StateStore, *, clock: Clock, interval: float | None = None) -> None:
        self.current: Snapshot = EMPTY
        self._store = store
        self._clock = clock
        self._listening = store.listening(self.poke)
        slowest = POLL_SECONDS if self._listening is None else HEARING_POLL_SECONDS
        self._interval = slowest if interval is None else interval
        self._listeners: list[Listener] = []
        self._poked = asyncio.Event()
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._looked = self._pruned = clock.monotonic()
        self.trouble = ""
        """Why the last look failed; empty when it did not."""

    @property
    def stale_seconds(self) -> float:
        """Seconds since the database was last seen to have nothing newer."""
        return self._clock.monotonic() - self._looked

    def listen(self, listener: Listener) -> None:
        """Call `listener` on every change from now on. It must not block and should not raise."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Load the first snapshot and keep it current from then on. Raises UnavailableError."""
        await self.refresh()
        if self._listening is not None:
            self._listening.start()
        self._task = spawn(self._watch(), name="state watcher")

    async def close(self) -> None:
        """Stop watching."""
        if self._listening is not None:
            await self._listening.close()
        await cancel(self._task)

    def poke(self) -> None:
        """Look now instead of at the next tick: this process knows that it changed something."""
        self._poked.set()

    async def refresh(self) -> Snapshot:
        """Look now, and return the snapshot that holds every change committed before the call."""
        async with self._looking:
            new = await self._store.snapshot(self.current)
            self._looked = self._clock.monotonic()
            self.trouble = ""
            self._swap(self._without_ended(new))
            return self.current

    async def _watch(self) -> None:
        failing = False
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._poked.wait()
            except TimeoutError:
                pass
            self._poked.clear()
            try:
                await self.refresh()
            except KubewitnessError as error:
                self.trouble = error.message
                if not failing:
                    _log.warning(
                        "state cannot be read; the last one stays in use", error=str(error)
                    )
                failing = True
            except Exception as error:  # noqa: BLE001  # a driver's defect must not end the watch
                self.trouble = f"{type(error).__name__}: {error}"
                _log.exception("state cannot be read; the last one stays in use")
            else:
                failing = False

    def _without_ended(self, snapshot: Snapshot) -> Snapshot:
        if self._looked - self._pruned < PRUNE_SECONDS:
            return snapshot
        self._pruned = self._looked
        now = self._clock.now()
        alive = {key: item for key, item in snapshot.credentials.items() if item.not_after > now}
        return msgspec.structs.replace(snapshot, credentials=MappingProxyType(alive))

    def _swap(self, new: Snapshot) -> None:
        old, self.current = self.current, new
        if (old.version, old.server) == (new.version, new.server):
            return
        for listener in self._listeners:
            try:
                listener(old, new)
            except Exception:  # noqa: BLE001  # a plug-in point, see below
                # One listener's defect must not keep a revocation from the others.
                _log.exception("a listener of the state failed")
