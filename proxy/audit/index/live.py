"""Live tails over a shared index: rows of every process and replica, soon after their commit.

Each writer's rows are read behind the last one that was told, so none comes twice or out of its
writer's order. A notice of the database says where to look; polling is the net under it. Nothing
is read while nobody listens.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog

from proxy.audit.index.listeners import Listeners, Subscription
from proxy.audit.index.query import Filter
from proxy.audit.index.store import SharedIndex
from proxy.errors import KubewitnessError
from proxy.tasks import cancel, spawn

_log = structlog.get_logger(__name__)

POLL: Final = 1.0
"""Seconds between looks for rows that no notice announced."""
RETRY: Final = 0.5
"""Seconds to wait after the database failed us."""
PAGE: Final = 1000
"""Rows read at once."""


class LiveRows:
    """Tells listeners of the rows that anybody commits."""

    def __init__(self, index: SharedIndex) -> None:
        self._index = index
        self._listeners = Listeners()
        self._told: dict[str, int] | None = None
        """Of each writer the last sequence that was told; None while nobody listens."""
        self._announced: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def subscribe(
        self, given: Filter | None = None, size: int = 1000
    ) -> AsyncIterator[Subscription]:
        """See Looks. Raises UnavailableError when the database does not answer."""
        with self._listeners.join(given, size) as subscription:
            async with self._looking:
                if self._told is None:
                    self._told = await self._ends()
            yield subscription

    async def run(self) -> None:
        """Read for whoever listens, until cancelled."""
        while True:
            await self._listeners.present.wait()
            hearing = spawn(self._hear(), name="hear of commits")
            try:
                while self._listeners.present.is_set():
                    await self._once()
            finally:
                await cancel(hearing)
            async with self._looking:
                if not self._listeners.present.is_set():
                    self._told = None

    async def _once(self) -> None:
        """Wait for a notice, or for a while; then read."""
        look = False
        try:
            async with asyncio.timeout(POLL):
                await self._wake.wait()
        except TimeoutError:
            look = True
        self._wake.clear()
        try:
            async with self._looking:
                await self._read(look=look)
        except KubewitnessError as error:
            _log.warning("live tails wait for the database", error=str(error))
            await asyncio.sleep(RETRY)
        except Exception:  # noqa: BLE001  # a driver's defect must not end the proxy
            _log.exception("live tails wait for the database")
            await asyncio.sleep(RETRY)

    async def _read(self, *, look: bool) -> None:
        told = self._told
        if told is None:
            return  # a listener is about to begin
        announced, self._announced = self._announced, {}
        for writer, last in (await self._ends() if look else announced).items():
            while told.get(writer, 0) < last:
                rows = await self._index.after(writer, told.get(writer, 0), PAGE)
                if not rows:
                    break
                told[writer] = rows[-1].seq
                self._listeners.tell(rows)

    async def _ends(self) -> dict[str, int]:
        found = await self._index.positions()
        return {writer: position.seq for writer, position in found.items()}

    async def _hear(self) -> None:
        while True:
            try:
                await self._index.hear(self._heard)
            except KubewitnessError as error:
                _log.warning("commits are not announced, polling", error=str(error))
            except Exception:  # noqa: BLE001  # as above
                _log.exception("commits are not announced, polling")
            await asyncio.sleep(RETRY)

    def _heard(self, writer: str, seq: int) -> None:
        self._announced[writer] = max(seq, self._announced.get(writer, 0))
        self._wake.set()
