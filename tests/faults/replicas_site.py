"""Three replicas as an operator sets them up: one PostgreSQL, three data directories, real processes.

Everything is done with the product's own commands; the API servers and clients are the rigs'.
"""

import asyncio
import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml

from proxy.cli.client import Client
from proxy.cli.connection import of_data_dir
from proxy.clock import SystemClock
from proxy.data_dir import DataDir
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from tests.faults.processes import ROOT, Processes
from tests.faults.scene import Scene
from tests.ports import reserved_ports
from tests.postgres import Database, Postgres

LOGIN = "kw_replica"
READY = 30.0
"""Seconds a process may take to be ready on a busy machine."""
COUNT = 3
Result = TypeVar("Result")


@dataclass
class Replica:
    """One data directory, and the process that serves it now."""

    number: int
    data_dir: Path
    ports: list[int]
    """Data plane, control plane, metrics; its successors have them, too."""
    environment: dict[str, str]
    bug: str = ""
    process: "subprocess.Popen[bytes] | None" = None
    starts: list[float] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.data_dir.with_suffix(".log")

    @property
    def addresses(self) -> list[str]:
        names = ("--listen", "--control", "--metrics")
        found = zip(names, self.ports, strict=True)
        return [word for name, port in found for word in (name, f"127.0.0.1:{port}")]

    def cli(self, *arguments: str) -> str:
        """A `kubewitness` command on this data directory; its output. Raises RuntimeError."""
        command = [sys.executable, "-m", "proxy", *arguments, "--data-dir", str(self.data_dir)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
            env=self.environment,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def admin(self) -> Client:
        return Client(of_data_dir(self.data_dir))

    def begin(self) -> None:
        """Start it; it is not ready yet."""
        program = ["tests.faults.replica_process", self.bug] if self.bug else ["proxy"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program, "serve", "--data-dir", str(self.data_dir)],
                stdout=log, stderr=subprocess.STDOUT, env=self.environment, cwd=ROOT,
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until it is ready. Raises RuntimeError with its log when it is not."""
        began = time.monotonic()
        while not self.ready():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() - began > READY:
                raise RuntimeError(f"replica {self.number}: {self.log.read_text()[-3000:]}")
            time.sleep(0.02)
        self.starts.append(time.monotonic() - began)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.ports[2]}/readyz", timeout=3
            ) as found:
                return bool(found.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def end(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(READY)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass
class Site:
    """All of it."""

    server: Postgres
    database: Database
    folder: Path
    processes: Processes
    api: Scene
    clients: Scene
    """Where the clients find a certificate of alice, and what to trust."""
    sandbox: Path
    """The sandbox's kubeconfig."""
    replicas: list[Replica]

    def kubeconfig(self, replica: Replica, user: str, *clusters: str, ttl: str = "1h") -> Path:
        """A kubeconfig of `user` through `replica`, for `dev` and `prod` unless others are named."""
        target = self.folder / f"{user}-{replica.number}.kubeconfig"
        named = [word for cluster in clusters or ("dev", "prod") for word in ("--cluster", cluster)]
        replica.cli(
            *("kubeconfig", "issue", user, "--group", "dev", *named),
            *("--ttl", ttl, "-o", str(target)),
        )
        return target

    def identity(self, kubeconfig: Path, user: str) -> None:
        """Put the certificate of a kubeconfig where clients find it as that of `user`."""
        found = yaml.safe_load(kubeconfig.read_text())
        cluster, login = found["clusters"][0]["cluster"], found["users"][0]["user"]
        trust = base64.b64decode(cluster["certificate-authority-data"])
        (self.clients.directory / "ca.pem").write_bytes(trust)
        parts = (login["client-certificate-data"], login["client-key-data"])
        pem = b"\n".join(map(base64.b64decode, parts))
        (self.clients.directory / f"{user}.pem").write_bytes(pem)


@contextlib.contextmanager
def site(folder: Path, settings: dict[str, str], bug: str, count: int = COUNT) -> Iterator[Site]:
    """Set up and serve; `settings` are environment variables of every replica."""
    with Postgres() as server, Processes() as processes:
        database = server.create_database()
        server.exec(f"CREATE ROLE {LOGIN} LOGIN PASSWORD 'pw'")
        environment = {
            **{name: value for name, value in os.environ.items() if "KUBEWITNESS" not in name},
            "KUBEWITNESS_CONFIG": str(folder / "contexts.yaml"),
            "KUBEWITNESS_DATABASE": database.login(LOGIN, "pw"),
            "KUBEWITNESS_JOURNAL_UNSAFE_FILESYSTEM": "allow",
            "KUBEWITNESS_JOURNAL_RESERVE_BYTES": "0",
            "KUBEWITNESS_JOURNAL_SEGMENT_BYTES": str(1 << 20),
            "KUBEWITNESS_DRAIN_TIMEOUT": "3",
            **settings,
        }
        subprocess.run(
            [sys.executable, "-m", "proxy", "db", "upgrade", "--login", LOGIN],
            env=environment | {"KUBEWITNESS_ADMIN_DATABASE": database.url},
            check=True, cwd=ROOT, capture_output=True, timeout=60,
        )  # fmt: skip
        replicas = _initialised(folder, environment, bug, count)
        (folder / "api").mkdir()
        (folder / "clients").mkdir()
        made = Site(
            server, database, folder, processes,
            Scene.make(folder / "api"), Scene(folder / "clients"), folder / "sandbox.kubeconfig",
            replicas,
        )  # fmt: skip
        try:
            for replica in replicas:
                replica.begin()
            _clusters(made)
            yield made
        finally:
            for replica in replicas:
                replica.kill()


def _initialised(folder: Path, environment: dict[str, str], bug: str, count: int) -> list[Replica]:
    ports = reserved_ports(3 * count)
    replicas = [
        Replica(
            number, folder / f"replica-{number}", ports[3 * number - 3 : 3 * number],
            environment, bug,
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
    replicas[0].cli("init", *replicas[0].addresses)
    together(
        lambda replica: replica.cli(
            "init", *replica.addresses, "--like", str(folder / "replica-1")
        ),
        replicas[1:],
    )
    return replicas


def together(work: Callable[[Replica], Result], replicas: list[Replica]) -> list[Result]:
    """The same for several replicas at once."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(work, replicas))


def _clusters(made: Site) -> None:
    """`dev` is a sandbox, `prod` an API server that logs what it executes."""
    process = made.processes.start(["tests.faults.sandbox_process"])
    assert process.stdout is not None
    made.sandbox.write_text(process.stdout.readline())
    port = made.processes.api_server(made.api)
    trust = base64.b64encode((made.api.directory / "ca.pem").read_bytes()).decode()
    kubeconfig = json.loads(made.sandbox.read_text())
    kubeconfig["clusters"][0]["cluster"] = {
        "server": f"https://127.0.0.1:{port}",
        "tls-server-name": "localhost",
        "certificate-authority-data": trust,
    }
    path = made.folder / "prod.kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    for replica in made.replicas:
        replica.wait()
    made.replicas[0].cli("cluster", "add", "dev", "--kubeconfig", str(made.sandbox))
    asyncio.run(_store(made, f"https://127.0.0.1:{port}", path.read_bytes()))


async def _store(made: Site, server: str, kubeconfig: bytes) -> None:
    """Register `prod` without the look that `cluster add` takes: it answers no such questions."""
    replica = made.replicas[0]
    box = SecretBox.open(DataDir(replica.data_dir).state_key)
    url = replica.environment["KUBEWITNESS_DATABASE"]
    store = await StateStore.open(url, box, clock=SystemClock())
    try:
        await store.add_cluster("prod", server=server, kubeconfig=kubeconfig)
    finally:
        await store.close()
