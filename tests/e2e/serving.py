"""The proxy as a person sets it up: the commands of the README, in a data directory of their own."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.client import Client
from tests.ports import reserved_ports

OURS = (sys.executable, "-m", "proxy")
"""`kubewitness` as it stands in this tree."""
READY_SECONDS = 30
STOP_SECONDS = 40


@dataclass(frozen=True)
class Proxy:
    """A data directory and the addresses that its proxy listens on."""

    data_dir: Path
    metrics: str
    program: tuple[str, ...] = OURS

    def cli(self, *arguments: str) -> str:
        """Run a `kubewitness` command on this data directory, require success, give its output."""
        return kubewitness(*arguments, "--data-dir", str(self.data_dir), program=self.program)

    def issue(
        self, user: str, *groups: str, clusters: tuple[str, ...], renewing: bool = False
    ) -> Path:
        """A kubeconfig for `user`, as `kubewitness kubeconfig issue` writes it, with or without `--exec`."""
        target = self.data_dir.parent / f"{user}-{'-'.join(clusters)}.kubeconfig"
        options = [item for group in groups for item in ("--group", group)]
        options += [item for cluster in clusters for item in ("--cluster", cluster)]
        options += ["--exec"] if renewing else []
        self.cli("kubeconfig", "issue", user, *options, "--ttl", "1h", "-o", str(target))
        return target

    def bootstrap(self, name: str, admin: Client, *groups: str) -> str:
        """Add a cluster by an account that may only impersonate, as `cluster bootstrap` says to; give its manifest.

        The commands printed below the manifest are run as they stand there, up to the one that adds the cluster.
        """
        options = [item for group in groups for item in ("--group", group)]
        manifest = kubewitness("cluster", "bootstrap", name, *options)
        there = admin.within("kubewitness")
        there.ok("apply", "-f", "-", stdin=manifest.encode())
        there.ok(
            "wait", "--for=jsonpath={.data.token}", "secret/kubewitness-token", "--timeout=20s"
        )
        _, _, below = manifest.partition("# Next")
        script = "\n".join(
            line.removeprefix("#").removeprefix("   ") for line in below.splitlines()[2:]
        )
        script, _, _ = script.partition("kubewitness cluster add")
        directory = self.data_dir.parent
        path = f"{admin.program.parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "KUBECONFIG": str(admin.kubeconfig)}
        subprocess.run(["bash", "-euc", script], cwd=directory, env=environment, check=True)
        self.cli("cluster", "add", name, "--kubeconfig", str(directory / f"{name}.kubeconfig"))
        return manifest

    def search(self, *filters: str) -> list[dict[str, Any]]:
        """What `kubewitness audit search` finds, noise included."""
        found = json.loads(self.cli("audit", "search", "--all", "-o", "json", *filters))
        return list(found)


def kubewitness(*arguments: str, program: tuple[str, ...] = OURS) -> str:
    """Run a `kubewitness` command, require success, give its output."""
    command = [*program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def serve(
    directory: Path, host: str = "127.0.0.1", program: tuple[str, ...] = OURS
) -> Iterator[Proxy]:
    """Initialise a data directory, serve it, wait until it is ready; stop it in the end, in order.

    `host` is the address that kubectl reaches it at, `program` whose `kubewitness` it is.
    """
    ports = reserved_ports(3)
    listen = f"{host}:{ports[0]}"
    control, metrics = (f"127.0.0.1:{port}" for port in ports[1:])
    proxy = Proxy(directory / "data", metrics, program)
    names = ("--tls-names", f"{host},localhost,127.0.0.1")
    proxy.cli("init", "--listen", listen, "--control", control, "--metrics", metrics, *names)
    command = [*program, "serve", "--data-dir", str(proxy.data_dir)]
    log = directory / "serve.log"
    with log.open("wb") as output:
        # The tests' directory may be in memory or in a container's layer.
        environment = {**os.environ, "KUBEWITNESS_JOURNAL_UNSAFE_FILESYSTEM": "allow"}
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    try:
        _wait_ready(proxy, process, log)
        yield proxy
    finally:
        process.terminate()
        code = process.wait(STOP_SECONDS)
    assert code == 0, f"the proxy ended with {code}:\n{log.read_text()[-4000:]}"


def _wait_ready(proxy: Proxy, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _ready(proxy):
        late = time.monotonic() > deadline
        if late or process.poll() is not None:
            raise AssertionError(f"the proxy is not ready:\n{log.read_text()[-4000:]}")
        time.sleep(0.1)


def _ready(proxy: Proxy) -> bool:
    try:
        with urllib.request.urlopen(f"http://{proxy.metrics}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def impersonating(kubeconfig: Path, target: Path, kubectl: Path, user: str, *groups: str) -> Path:
    """The way without the proxy to be the same user: a kubeconfig that impersonates it itself."""
    view = [str(kubectl), f"--kubeconfig={kubeconfig}", "config", "view", "--raw", "--minify"]
    done = subprocess.run([*view, "-o", "json"], capture_output=True, check=True, env=os.environ)
    config = json.loads(done.stdout)
    config["users"][0]["user"] |= {"as": user, "as-groups": list(groups)}
    target.touch(mode=0o600)
    target.write_text(json.dumps(config))
    return target
