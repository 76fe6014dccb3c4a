"""Who is measured: each a process of its own on one core, in front of the same API server."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import reserved_ports

PROXY_CORE = 0
"""The core of the proxy under test, which it has for itself."""
OTHER_CORE = 1
"""The core of the load generator and of the API server stand-in."""
START_TIMEOUT = 30.0
"""Seconds a contender may take to say that it is ready."""


class BenchError(Exception):
    """The benchmark cannot go on; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where everything is."""

    certs: Path
    work: Path
    bench: Path
    """Our Go program."""
    nginx: Path
    kubectl: Path


@dataclass(frozen=True)
class Contender:
    """A running proxy, or the API server itself."""

    name: str
    address: str
    process: int
    """0 for the API server, which shares its core with the load generator."""
    prefix: str = "/clusters/prod"
    certs: str = ""
    """Directory of the certificates; empty for plain HTTP."""


@contextmanager
def running(
    command: Sequence[object], core: int, ready: str, *, where: Path | None = None
) -> Iterator[tuple[int, str]]:
    """A process on one core; gives its id and the line in which it says `ready`.

    It ends with the block: by the end of its standard input, or it is killed.
    """
    process = subprocess.Popen(
        # taskset becomes the command, so the process id is the command's.
        ["taskset", "-c", str(core), *map(str, command)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=where,
        text=True,
    )
    try:
        yield process.pid, _first_line(process, ready)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(0.2 if not ready else 3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _first_line(process: "subprocess.Popen[str]", ready: str) -> str:
    if not ready:
        return ""
    assert process.stdout is not None
    watchdog = threading.Timer(START_TIMEOUT, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if ready in line:
                return line.strip()
    finally:
        watchdog.cancel()
    raise BenchError(f"{process.args!r} ended, or said nothing for {START_TIMEOUT:g} s")


@contextmanager
def backend(place: Place) -> Iterator[Contender]:
    """The API server stand-in."""
    command = [place.bench, "backend", "-certs", place.certs]
    with running(command, OTHER_CORE, "ready") as (_, line):
        yield Contender("direct", line.split()[1], 0, "", str(place.certs))


@contextmanager
def reverse(place: Place, server: str) -> Iterator[Contender]:
    """A plain Go reverse proxy."""
    command = [place.bench, "reverse", "-certs", place.certs, "-backend", server]
    with running(command, PROXY_CORE, "ready") as (pid, line):
        yield Contender("Go ReverseProxy", line.split()[1], pid, certs=str(place.certs))


@contextmanager
def ours(place: Place, server: str, *, record: bool) -> Iterator[Contender]:
    """Our data plane."""
    journal = str(place.work) if record else "none"
    command: list[object] = [sys.executable, "-m", "tests.bench.ours", "--certs", place.certs]
    command += ["--backend", server, "--journal", journal]
    root = Path(__file__).parents[2]
    name = "kubewitness" if record else "kubewitness, no record"
    with running(command, PROXY_CORE, "ready", where=root) as (pid, line):
        yield Contender(name, line.split()[1], pid, certs=str(place.certs))


@contextmanager
def nginx(place: Place, server: str) -> Iterator[Contender]:
    """nginx, one process, set up as for kubectl."""
    (port,) = reserved_ports()
    settings = place.work / "nginx.conf"
    text = (Path(__file__).parent / "nginx.conf").read_text(encoding="utf-8")
    for name, value in (("CERTS", place.certs), ("WORK", place.work), ("BACKEND", server)):
        text = text.replace(f"@{name}@", str(value))
    settings.write_text(text.replace("@PORT@", str(port)), encoding="utf-8")
    command = [place.nginx, "-p", place.work, "-c", settings, "-e", "stderr"]
    with running(command, PROXY_CORE, "") as (pid, _):
        _wait_for(port)
        yield Contender("nginx", f"127.0.0.1:{port}", pid, certs=str(place.certs))


@contextmanager
def kubectl_proxy(place: Place, server: str) -> Iterator[Contender]:
    """`kubectl proxy`: certificates towards the API server only, plain HTTP towards the client."""
    settings = place.work / "kubeconfig"
    pem = place.certs / "proxy.pem"
    settings.write_text(
        f"apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        f"clusters: [{{name: c, cluster: {{server: 'https://{server}', tls-server-name: localhost,"
        f" certificate-authority: {place.certs / 'ca.pem'}}}}}]\n"
        f"users: [{{name: u, user: {{client-certificate: {pem}, client-key: {pem}}}}}]\n",
        encoding="utf-8",
    )
    command = [place.kubectl, "proxy", "--kubeconfig", settings, "--port", "0"]
    with running(command, PROXY_CORE, "Starting to serve") as (pid, line):
        yield Contender("kubectl proxy", line.split()[-1], pid, prefix="")


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise BenchError("nginx does not listen")
