"""Waiting for a shared database that is away while a process starts.

Ending instead would help nobody: whoever started the process starts it again, in a loop, and when
the database is back it waits for the next turn of that loop. What a process waits for is in its
log, on `/readyz` and with the service manager; it ends when it is asked to.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from proxy.clock import Clock
from proxy.errors import UnavailableError
from proxy.runtime.process import Stop

T = TypeVar("T")
_log = structlog.get_logger(__name__)

RETRY: Final = 0.5
"""Seconds between attempts."""
REMIND: Final = 60.0
"""Seconds between lines in the log while it lasts."""


class StoppedError(Exception):
    """The process was asked to end while it waited."""


class Patience:
    """How one process waits; `told` hears of each failed attempt, with its cause, and of the end."""

    def __init__(
        self, stop: Stop, clock: Clock, told: Callable[[str], None] = lambda cause: None
    ) -> None:
        self.cause = ""
        """What is waited for now; empty when nothing is."""
        self._stop = stop
        self._clock = clock
        self._told = told

    async def until(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` returns, tried again for as long as it raises UnavailableError.

        Raises StoppedError when the process is asked to end meanwhile.
        """
        began = self._clock.monotonic()
        said: float | None = None
        while True:
            try:
                found = await attempt()
            except UnavailableError as error:
                self.cause = f"waiting for the database: {error.message}"
                now = self._clock.monotonic()
                if said is None or now - said >= REMIND:
                    said = now
                    _log.warning(
                        "waiting for the database; nothing is served before",
                        error=error.message,
                        waited_seconds=round(now - began),
                    )
                self._told(self.cause)
                await self._pause()
                continue
            if said is not None:
                waited = round(self._clock.monotonic() - began, 1)
                _log.info("the database is there; starting", waited_seconds=waited)
                self._told("")
            self.cause = ""
            return found

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(RETRY):
                await self._stop.asked.wait()
        except TimeoutError:
            return
        raise StoppedError
