"""Keeps what was seen of credentials in the state's database, behind the calls, shared by all.

Every few seconds what is new is written and what others wrote is read. Nobody waits for it, and
what fails is tried again: without the database, each process knows what it saw itself.
"""

import asyncio
import contextlib
from typing import Final

import structlog

from proxy.authn.suspicion import Suspicion
from proxy.clock import Clock
from proxy.errors import KubewitnessError
from proxy.state.sightings import BATCH, Sightings
from proxy.tasks import cancel, spawn

INTERVAL: Final = 2.0
"""Seconds between writes: how late other processes and replicas know."""
KEPT: Final = 90 * 86_400.0
"""Seconds that is kept of a credential which is not used any more; its user keeps it for longer."""
_MOST: Final = 250_000
"""Rows read at a start, the latest first."""
_LAST: Final = 1.5
"""Seconds that the last ones get to be written when the process stops."""
_PRUNE: Final = 3_600.0
_log = structlog.get_logger(__name__)


class Keeper:
    """Keeps one process's memory level with the database."""

    def __init__(self, suspicion: Suspicion, sightings: Sightings, *, clock: Clock) -> None:
        self._suspicion = suspicion
        self._memory = suspicion.memory
        self._sightings = sightings
        self._clock = clock
        self._since = 0.0
        self._pruned = clock.monotonic()
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read what was seen before, if the database says it, and keep level from then on."""
        if self._suspicion.settings.enabled:
            await self._tried()
            self._task = spawn(self._run(), name="sightings")

    async def close(self) -> None:
        """Write what is left, for a moment."""
        if self._task is not None:
            await cancel(self._task)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST):
                    await self._tried()

    async def level(self) -> None:
        """Write what is new here and read what is new elsewhere. Raises UnavailableError."""
        self._suspicion.refresh()
        seen, gone = self._memory.take()
        seen.sort(key=lambda one: one.key)
        try:
            while gone:
                await self._sightings.forget(gone[:BATCH])
                gone = gone[BATCH:]
            while seen:
                await self._sightings.add(seen[:BATCH])
                seen = seen[BATCH:]
        finally:
            self._memory.give_back(seen, gone)
        settings = self._suspicion.settings
        found, self._since = await self._sightings.latest(self._since, _MOST)
        self._memory.learn(reversed(found), settings.ipv4_prefix, settings.ipv6_prefix)
        self._memory.trim()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await self._tried()

    async def _tried(self) -> None:
        try:
            await self.level()
            await self._prune()
        except KubewitnessError as error:
            if not self._failing:
                _log.warning("what was seen of credentials is not shared now", error=error.message)
            self._failing = True
        except Exception as error:  # noqa: BLE001  # a driver's defect must not end the keeping
            if not self._failing:
                _log.error("what was seen of credentials is not shared now", exc_info=error)
            self._failing = True
        else:
            self._failing = False

    async def _prune(self) -> None:
        if self._clock.monotonic() - self._pruned >= _PRUNE:
            self._pruned = self._clock.monotonic()
            await self._sightings.prune(self._clock.now() - KEPT)
