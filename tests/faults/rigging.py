"""A proxy to be hurt, its API server, its clients and the oracle: what most rigs begin with."""

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.oracle import Oracle
from tests.faults.processes import Processes
from tests.faults.report import Report
from tests.faults.scene import Scene, listener

ANSWER_TIMEOUT = 30.0


class Proxy:
    """The rig's side of the conversation with tests.faults.controlled."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lines = control.makefile("rb")
        self.pid = int(self._line()["pid"])

    def go(self, **options: Any) -> None:
        """Let it start; returns when it serves. Raises RuntimeError when it does not."""
        self.begin(**options)
        self.ready()

    def begin(self, **options: Any) -> None:
        """Let it start."""
        self._send({"do": "go", **options})

    def ready(self) -> None:
        """Wait until it serves. Raises RuntimeError when it cannot, EOFError when it died."""
        answer = self._line()
        if "ready" not in answer:
            raise RuntimeError(answer.get("trouble", str(answer)))

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """One command, one answer."""
        self._send({"do": do, **more})
        return self._line()

    def end(self) -> None:
        """Drain and leave. Raises EOFError when it died of it."""
        with contextlib.suppress(OSError):
            self._send({"do": "end"})
        while "ended" not in (answer := self._line()):
            if "trouble" in answer:
                raise RuntimeError(answer["trouble"])
        self.gone()

    @property
    def alive(self) -> bool:
        """Whether it can still hear us."""
        if not select.select([self._control], [], [], 0)[0]:
            return True
        try:
            return self._control.recv(1, socket.MSG_PEEK) != b""
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.gone()

    def gone(self) -> None:
        """It has ended, or was killed: wait until the kernel says so."""
        with contextlib.suppress(OSError):
            while self._lines.readline():
                pass
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._control.close()

    def _send(self, command: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(command).encode() + b"\n")

    def _line(self) -> dict[str, Any]:
        self._control.settimeout(ANSWER_TIMEOUT)
        line = self._lines.readline()
        if not line:
            raise EOFError("the proxy is gone")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Rig:
    """Everything, in one directory."""

    def __init__(self, scene: Scene, processes: Processes, seed: int) -> None:
        self.scene = scene
        self.processes = processes
        self.seed = seed
        self.chance = random.Random(seed)
        self.api_port = processes.api_server(scene)
        self.sock = listener()
        self.port = self.sock.getsockname()[1]
        self.oracle = Oracle(scene.journal, scene.effects, [])
        self._forks: subprocess.Popen[str] | None = None
        self._controls = 0
        self._proxies: list[Proxy] = []

    def close(self) -> None:
        """Whoever still serves ends when nobody speaks to it any more."""
        self.sock.close()
        for proxy in self._proxies:
            proxy.close()

    def clients(self, mix: str, threads: int, user: str = "alice", pause: float = 0.0) -> None:
        """Clients under way from here on."""
        self.oracle.watch(
            self.processes.client(
                self.scene, self.port, self.seed, mix=mix, threads=threads, user=user, pause=pause
            )
        )

    def under_way(self, calls: int = 10) -> None:
        """Wait until the clients have made so many calls. Raises RuntimeError when they do not."""
        answers = self.oracle.answers
        assert answers is not None
        deadline = time.monotonic() + 20
        while sum(told.status < 300 for told in answers) < calls:
            if time.monotonic() > deadline:
                raise RuntimeError("the clients get no answers")
            time.sleep(0.02)
            self.oracle.hear()

    def good_after(
        self, broken: float, repaired: float, user: str = "a", limit: float = 5
    ) -> float:
        """Seconds from the repair to the first whole answer of a call sent since it was broken."""
        oracle = self.oracle
        assert oracle.answers is not None
        oracle.answers.clear()
        while time.monotonic() < repaired + limit:
            time.sleep(0.005)
            oracle.hear()
            ends = [
                told.began + told.ms / 1000
                for told in oracle.answers
                if told.status < 300 and told.began > broken and told.user == user
            ]
            if ends and max(ends) > repaired:
                return min(end for end in ends if end > repaired) - repaired
        return limit

    def waiting(self) -> list[tuple[str, float]]:
        """(target, since when) of calls that were sent and not answered by now."""
        return list(self.oracle.unanswered.items())

    def proxy(self) -> Proxy:
        """A forked proxy that waits for `go`."""
        if self._forks is None:
            self._forks = self.processes.fork_server(
                self.scene, self.api_port, self.sock.dup(), {}, ""
            )
        assert self._forks.stdin is not None
        with self._control() as (path, control):
            self._forks.stdin.write(f"fork {path}\n")
            self._forks.stdin.flush()
            return self._met(control)

    def command(self, path: str) -> list[str]:
        """What starts a proxy of its own, without the fork server (see Processes.start)."""
        return [
            "tests.faults.controlled",
            *(str(self.scene.directory), str(self.api_port), str(self.sock.fileno()), path),
        ]

    def started(self, prefix: list[str]) -> Proxy:
        """A proxy that `prefix` starts, in a namespace of its own for instance."""
        with self._control() as (path, control):
            self.processes.start(self.command(path), prefix=prefix, pass_fds=[self.sock.fileno()])
            return self._met(control)

    def _met(self, control: socket.socket) -> Proxy:
        proxy = Proxy(control.accept()[0])
        self._proxies.append(proxy)
        return proxy

    @contextlib.contextmanager
    def _control(self) -> Iterator[tuple[str, socket.socket]]:
        self._controls += 1
        path = str(self.scene.directory / f"control-{self._controls}")
        with socket.socket(socket.AF_UNIX) as control:
            control.bind(path)
            control.listen(1)
            control.settimeout(ANSWER_TIMEOUT)
            yield path, control


@contextlib.contextmanager
def rig(report: Report) -> Iterator[Rig]:
    """A directory, an API server and an oracle; violations and counts go to `report`."""
    with (
        tempfile.TemporaryDirectory(prefix=f"{report.name.replace(' ', '-')}-") as folder,
        Processes() as processes,
    ):
        made = Rig(Scene.make(Path(folder)), processes, report.seed)
        began = time.monotonic()
        try:
            yield made
        finally:
            made.close()
            report.counts |= {name: value for name, value in made.oracle.counts().items() if value}
            report.counts["seconds"] = round(time.monotonic() - began, 1)
            report.violations += made.oracle.violations
