"""Processes of a rig: started together, ended together, whatever happens."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.faults.scene import Scene

ROOT = Path(__file__).parents[2]


class Processes:
    """A context that ends what was started in it."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []
        self._clients: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in reversed(list(self._started)):
            self.end(process)

    def start(
        self, command: Sequence[str], *, prefix: Sequence[str] = (), **more: Any
    ) -> subprocess.Popen[str]:
        """`python -m <command>` with pipes for input and output."""
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", *command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **more,
        )
        self._started.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        """Politely, by closing its input; then not."""
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if process in self._started:
            self._started.remove(process)

    def api_server(self, scene: Scene) -> int:
        """A fake API server; returns its port."""
        process = self.start(["tests.faults.api_server", str(scene.directory)])
        assert process.stdout is not None
        return int(process.stdout.readline())

    def client(
        self,
        scene: Scene,
        port: int,
        seed: int,
        *,
        mix: str,
        threads: int,
        user: str = "alice",
        pause: float = 0.0,
        rate: float = 0.0,
    ) -> Path:
        """Clients under way; returns the log of what they were told."""
        count = len(self._clients) + 1
        log = scene.directory / f"client-{count}.log"
        log.touch()
        number = str(seed * 10 + count)
        process = self.start(
            [
                "tests.faults.client",
                *(str(scene.directory), str(port), str(log)),
                *(number, str(threads), user, mix, str(pause), str(rate)),
            ]
        )
        self._clients.append(process)
        return log

    def end_clients(self) -> None:
        """No more calls; the logs are complete when this returns."""
        for process in self._clients:
            if process in self._started:
                self.end(process)

    def fork_server(
        self, scene: Scene, api_port: int, sock: socket.socket, settings: dict[str, Any], bug: str
    ) -> subprocess.Popen[str]:
        """See tests.faults.fork_server. The socket is its own from here on."""
        with sock:
            return self.start(
                [
                    "tests.faults.fork_server",
                    *(str(scene.directory), str(api_port), str(sock.fileno())),
                    *(json.dumps(settings), bug),
                ],
                pass_fds=[sock.fileno()],
            )
