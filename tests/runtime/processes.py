"""A proxy under test: in this process for what one can look into, as a process for the rest."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.cli.init import initialise
from proxy.runtime.process import Stop
from proxy.runtime.serve import Started, serve
from proxy.settings import Settings, load

ANYWHERE = {"KUBEWITNESS_JOURNAL_UNSAFE_FILESYSTEM": "allow"}
"""The tests' directory may be in memory or in a container's layer."""
READY = 30.0
"""Seconds a process may take to be ready on a busy machine."""
OURS = (sys.executable, "-m", "proxy")
"""`kubewitness` as it stands in this tree."""


@pytest.fixture
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("KUBEWITNESS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KUBEWITNESS_CONFIG", str(tmp_path / "contexts.yaml"))


def initialised(path: Path, **flags: object) -> Settings:
    """Settings of a new data directory, on ports of the kernel's choice."""
    found = load(
        {
            "data_dir": path,
            "listen": "127.0.0.1:0",
            "control": "127.0.0.1:0",
            "metrics": "127.0.0.1:0",
            "drain_timeout": 2.0,
            # The tests' directory may be in memory or in a container's layer.
            "journal": {"unsafe_filesystem": "allow"},
            **flags,
        }
    )
    # A thread: it runs a loop of its own, and the test may have one.
    thread = threading.Thread(target=initialise, args=(found,))
    thread.start()
    thread.join()
    return found


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Started, Stop]]:
    """A proxy in this process; what `serve` raises comes out at the end."""
    stop, ready = Stop(), asyncio.Event()
    started: list[Started] = []

    def on_ready(what: Started) -> None:
        started.append(what)
        ready.set()

    async def run() -> None:
        try:
            await serve(settings, on_ready, stop=stop)
        finally:
            ready.set()

    task = asyncio.get_running_loop().create_task(run())
    await ready.wait()
    if not started:
        await task
    try:
        yield started[0], stop
    finally:
        stop.ask("test ends")
        await task


class Process:
    """`kubewitness …` as a process; `program` is another one than this tree's."""

    def __init__(
        self, *arguments: str, program: tuple[str, ...] = OURS, **environment: str
    ) -> None:
        self.lines: list[str] = []
        self._grew = threading.Condition()
        self._process = subprocess.Popen(
            [*program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **ANYWHERE, **environment, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._grew:
                self.lines.append(line)
                self._grew.notify_all()
        with self._grew:
            self._grew.notify_all()

    def wait_for(self, pattern: str, seconds: float = READY) -> re.Match[str]:
        """The first match of `pattern` in what it says."""
        with self._grew:
            self._grew.wait_for(
                lambda: re.search(pattern, self.output) or self._process.poll() is not None,
                seconds,
            )
        found = re.search(pattern, self.output)
        assert found, f"{pattern!r} is not in:\n{self.output}"
        return found

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals | None = None) -> int:
        """The exit code, after a signal or without one."""
        if number is not None:
            self.send(number)
        try:
            code = self._process.wait(READY)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"It has not ended after {READY} s:\n{self.output}") from None
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.end()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Start `kubewitness …`; whatever still runs at the end is killed."""
    processes: list[Process] = []

    def run(*arguments: str, program: tuple[str, ...] = OURS, **environment: str) -> Process:
        processes.append(Process(*arguments, program=program, **environment))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
