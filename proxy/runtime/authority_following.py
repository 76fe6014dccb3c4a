"""A rotation at one replica, taken over by the others.

The replica that rotates puts the new authority into the state, its key sealed; every replica, that
one included, brings it from there into its own directory, where the listeners look for it.
"""

import asyncio
from typing import Final

import structlog

from proxy.errors import KubewitnessError, UnavailableError
from proxy.runtime.identity import Identity
from proxy.state.authorities import SharedAuthority
from proxy.state.repository import StateStore
from proxy.state.watcher import SnapshotWatcher

_log = structlog.get_logger(__name__)

LOOK: Final = 30.0
"""Seconds between looks when nothing was heard of a change."""
RETRY: Final = 1.0
"""Seconds after the database did not answer."""


class AuthorityFollower:
    """Keeps one data directory's authorities level with those that replicas share."""

    def __init__(self, identity: Identity, store: StateStore, watcher: SnapshotWatcher) -> None:
        self._identity = identity
        self._store = store
        self._changed = asyncio.Event()
        self._refused: set[str] = set()
        watcher.listen(lambda _old, _new: self._changed.set())

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self._changed.clear()
            wait = LOOK
            try:
                await self.take_over()
            except UnavailableError:
                wait = RETRY  # the watcher of the state has said so in the log
            except Exception:  # noqa: BLE001  # a driver's defect must not end the proxy
                _log.exception("authorities of other replicas cannot be read")
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def take_over(self) -> None:
        """Take over what is not trusted yet. Raises UnavailableError."""
        for authority in await self._store.authorities.list():
            if authority.fingerprint in self._refused:
                continue
            try:
                await self._take(authority)
            except OSError as error:
                _log.error("an authority cannot be kept; tried again", error=str(error))
            except UnavailableError:
                raise
            except KubewitnessError as error:
                # Trusting it unseen would be worse than refusing its credentials here.
                self._refused.add(authority.fingerprint)
                _log.error(
                    "an authority of another replica is not taken over: its credentials are refused",
                    fingerprint=authority.fingerprint,
                    error=str(error),
                )

    async def _take(self, authority: SharedAuthority) -> None:
        if self._identity.trusts(authority.fingerprint):
            return
        key = self._store.authorities.key(authority)
        certificate = authority.certificate.encode()
        if await asyncio.to_thread(self._identity.adopt, certificate, key):
            _log.info("authority of another replica taken over", fingerprint=authority.fingerprint)
