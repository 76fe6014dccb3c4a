"""Hearing of changes of the state from PostgreSQL, on a connection of its own.

Only a way to hear sooner: whoever needs to know looks by himself as well, because a connection can
die without a word.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import asyncpg
import structlog
from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError

from proxy.state.postgres import CHANNEL, CONNECT_SECONDS, connect
from proxy.tasks import cancel, spawn

CHECK_SECONDS: Final = 2.0
"""How often the connection is asked whether it lives."""
_RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)
_LOST: Final = (OSError, PostgresError, InterfaceError, InternalClientError)
_log = structlog.get_logger(__name__)


class Listening:
    """Calls `heard` on the event loop after each change, and whenever one may have been missed."""

    def __init__(self, url: str, heard: Callable[[], None]) -> None:
        self._url = url
        self._heard = heard
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen from soon on, and again after each interruption, until closed."""
        self._task = spawn(self._run(), name="state listener")

    async def close(self) -> None:
        """Stop listening."""
        await cancel(self._task)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                connection = await connect(self._url, name="kubewitness state listener")
            except _LOST as error:
                if failures == 0:
                    _log.info(
                        "changes of the state are not heard, only looked for", error=str(error)
                    )
                await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                failures += 1
                continue
            failures = 0
            try:
                await self._listen(connection)
            finally:
                # Never the polite way, which waits for an answer.
                connection.terminate()

    async def _listen(self, connection: asyncpg.Connection) -> None:
        ended = asyncio.Event()

        def end(_: object) -> None:
            ended.set()

        def notified(*_: object) -> None:
            self._heard()

        connection.add_termination_listener(end)
        with contextlib.suppress(*_LOST):
            await connection.add_listener(CHANNEL, notified)
            # What changed while nobody listened.
            self._heard()
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_SECONDS):
                        await ended.wait()
                if not ended.is_set():
                    await connection.execute("SELECT 1", timeout=CONNECT_SECONDS)
        connection.remove_termination_listener(end)
