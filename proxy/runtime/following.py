"""One state for all processes: a change counts as done when every worker has it.

Each process looks at the database by itself several times a second. That is not enough for who
revokes a credential and tries it at once, so the process that makes a change has its workers look
now, and waits for their answer.
"""

from collections.abc import Awaitable, Callable

from proxy.clock import Clock
from proxy.state.repository import StateStore
from proxy.state.snapshot import EMPTY, Snapshot
from proxy.state.watcher import SnapshotWatcher

Follow = Callable[[int], Awaitable[None]]
"""Returns when the others have the version of the state, or cannot be waited for."""


class LeadingWatcher(SnapshotWatcher):
    """A watcher whose `refresh` includes the workers, once `lead` has been called."""

    def __init__(self, store: StateStore, *, clock: Clock) -> None:
        super().__init__(store, clock=clock)
        self._follow: Follow | None = None
        self._followed = EMPTY

    def lead(self, follow: Follow) -> None:
        """Have others follow from now on."""
        self._follow = follow

    async def refresh(self) -> Snapshot:
        """See SnapshotWatcher; what it returns is then what every worker has."""
        snapshot = await super().refresh()
        if self._follow is not None and not _covers(self._followed, snapshot):
            await self._follow(snapshot.version)
            if not _covers(self._followed, snapshot):  # another refresh may have gone further
                self._followed = snapshot
        return snapshot


def _covers(one: Snapshot, other: Snapshot) -> bool:
    """Whether `one` is as new as `other`, or newer."""
    return one.server == other.server and one.version >= other.version
