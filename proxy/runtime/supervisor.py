"""Workers: processes that share the data plane's port, each with a journal of its own.

A worker gets its settings on stdin, so nothing stands in argv or the environment, and reports on
stdout, one JSON line a second. When stdin ends, the parent is gone and the worker drains. A worker
that ends without being asked is started again on the same journal slot, which its successor
recovers; one that cannot get ready several times in a row ends the whole process.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Final

import structlog

from proxy.audit.gate import Level
from proxy.clock import Clock
from proxy.errors import KubewitnessError
from proxy.settings import Settings
from proxy.tasks import cancel, spawn

_log = structlog.get_logger(__name__)

ATTEMPTS: Final = 6
"""Starts in a row without getting ready, after which we give up."""
BACKOFF: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 3.0)
"""Seconds before each of those starts."""
FOLLOW: Final = 1.0
"""Seconds a worker gets to take over a change of the state."""
LOOK: Final = b"look\n"
"""On a worker's stdin: look at the state now, and report."""
SILENCE: Final = 5.0
"""Seconds without a report after which a worker counts as not working."""
GRACE: Final = 15.0
"""Seconds beyond the drain that a worker gets to close its journal, before it is killed."""


class WorkerError(KubewitnessError):
    """A worker does not get ready."""


class Worker:
    """One slot, and whichever process serves it now."""

    def __init__(
        self, slot: str, settings: Settings, clock: Clock, ended: Callable[[int], None]
    ) -> None:
        self.slot = slot
        self.ready = asyncio.Event()
        self._settings = settings
        self._clock = clock
        self._ended = ended
        self._process: Process | None = None
        self._reported_at = 0.0
        self._version = -1
        self._moved = asyncio.Event()
        self._trouble = ""
        self.waiting = ""
        """What a process that starts waits for; empty when it does not."""
        self._audit = Level.OK, ""
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int:
        """Of the present process; 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    def failure(self) -> str:
        """What is wrong with it now; empty when nothing is."""
        if not self.ready.is_set():
            return f"{self.slot} is {self.waiting or 'starting'}"
        silent = self._clock.monotonic() - self._reported_at
        if silent > SILENCE:
            return f"{self.slot} has not reported for {silent:.0f} s"
        return f"{self.slot}: {self._trouble}" if self._trouble else ""

    def audit(self) -> tuple[Level, str]:
        """Its audit state and why, as it last said."""
        return self._audit

    async def run(self) -> None:
        """Keep a process running in the slot until `stop`.

        Raises WorkerError when it cannot get ready.
        """
        attempt = 0
        while not self._stopping.is_set():
            code = await self._once()
            if self._stopping.is_set():
                return
            attempt = 0 if self.ready.is_set() else attempt + 1
            self.ready.clear()
            if attempt >= ATTEMPTS:
                raise WorkerError(
                    f"{self.slot} ended {attempt} times before it was ready (exit code {code}).",
                    hint="Its own messages are in the log above.",
                )
            _log.warning("worker ended; starting it again", slot=self.slot, code=code)
            await asyncio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])

    async def _once(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", "worker", self.slot,
            stdin=PIPE,
            stdout=PIPE,
            # A Ctrl-C in the terminal is for the parent, which then asks us.
            start_new_session=True,
        )  # fmt: skip
        self._process = process
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
        try:
            process.stdin.write(self._settings.model_dump_json().encode() + b"\n")
            async for line in process.stdout:
                self.report(line)
            code = await process.wait()
        finally:
            self._process = None
            self.waiting = ""
            self._version = -1
            self._moved.set()
            if process.returncode is None:
                process.kill()
                await process.wait()
            self._ended(process.pid)
        return code

    def report(self, line: bytes) -> None:
        """Take one line of its stdout."""
        said = json.loads(line)
        self.waiting = str(said.get("waiting", ""))
        if "waiting" in said:
            return
        self._trouble = str(said.get("trouble", ""))
        level, cause = Level[str(said.get("level", "ok")).upper()], str(said.get("cause", ""))
        self._audit = level, f"{self.slot}: {cause}" if cause else ""
        self._version = int(said.get("version", self._version))
        self._moved.set()
        self._reported_at = self._clock.monotonic()
        self.ready.set()

    async def follow(self, version: int) -> None:
        """Have it look at the state now, and return when it has `version` of it.

        One that is not serving, or does not answer within FOLLOW seconds, is not waited for: a new
        process begins with the present state, and one that hangs is not ready.
        """
        process = self._process
        if process is None or process.stdin is None or not self.ready.is_set():
            return
        process.stdin.write(LOOK)
        try:
            async with asyncio.timeout(FOLLOW):
                while self._version < version and process is self._process:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            _log.warning("worker does not follow the state", slot=self.slot, version=version)

    def ask(self) -> None:
        """Ask it to drain; the second time, to cut."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def stop(self, now: asyncio.Event) -> None:
        """Drain, cut when `now` is set, kill when even that does not end it."""
        process = self._process
        self.ask()
        if process is None:
            return
        patience = self._settings.drain_timeout + GRACE
        cutting = spawn(now.wait(), name=f"cut {self.slot}")
        ending = spawn(process.wait(), name=f"end of {self.slot}")
        try:
            await asyncio.wait(
                {cutting, ending}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            if not ending.done():
                self.ask()
                await asyncio.wait({ending}, timeout=GRACE)
            if not ending.done():
                _log.error("worker does not end; killed", slot=self.slot)
                process.kill()
            await ending
        finally:
            await cancel(cutting, ending)
