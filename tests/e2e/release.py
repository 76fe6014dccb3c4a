"""A release of the chart in the cluster: what it needs around it, and ways to ask it."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.chart.helm import CHART
from tests.cluster.contain import NODE_ADDRESS
from tests.cluster.node import POD_NETWORK
from tests.deploy.image import NAME as IMAGE
from tests.e2e.client import Client
from tests.e2e.conftest import find_program
from tests.postgres import Postgres

NAME = "kubewitness"
NODE_PORT = 30843
USER_ID = 65532
PAGE = 8080
STORAGE_CLASS = "kubewitness-e2e"
SECONDS = 240
LOGIN, PASSWORD = "kubewitness", "pass/word"  # what a URL has to escape

Values = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """One installed (or not yet installed) release in a namespace of its own."""

    helm: Client
    kubectl: Client
    """Of the administrator, in the namespace of the release."""
    values: Path
    volumes: tuple[Path, ...]
    """Where each pod's volume lies on the node."""

    @property
    def namespace(self) -> str:
        """Where it is."""
        return self.kubectl.namespace

    @property
    def account(self) -> str:
        """The name by which the cluster knows the proxy's pods."""
        return f"system:serviceaccount:{self.namespace}:{NAME}"

    def install(self, *more: str) -> str:
        """Install, wait until every pod is ready, and give what Helm printed."""
        return self._wait("install", NAME, str(CHART), f"--values={self.values}", *more)

    def upgrade(self, *more: str) -> str:
        """Upgrade and wait."""
        return self._wait("upgrade", NAME, str(CHART), f"--values={self.values}", *more)

    def uninstall(self) -> None:
        """Uninstall, and wait until the pods have let go of their calls and of their volumes."""
        self.helm.ok("uninstall", NAME, "--wait", "--timeout=120s", timeout=150)
        selector = f"--selector=app.kubernetes.io/instance={NAME}"
        self.kubectl.ok("wait", "--for=delete", "pod", selector, "--timeout=60s", timeout=70)

    def _wait(self, *arguments: str) -> str:
        waiting = ("--wait", f"--timeout={SECONDS}s")
        result = self.helm.run(*arguments, *waiting, timeout=SECONDS + 30)
        assert result.code == 0, f"{result.text}{result.errors}\n{self.state()}"
        return result.text

    def state(self) -> str:
        """What there is, for a failure's message."""
        found = []
        for arguments in (
            ("get", "pods,jobs,pvc", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("logs", "-l", f"app.kubernetes.io/instance={NAME}", "--all-containers", "--tail=40"),
        ):
            result = self.kubectl.run(*arguments)
            found.append(result.text[-6000:] + result.errors[-2000:])
        return "\n".join(found)

    def cli(self, *arguments: str, pod: int = 0) -> str:
        """Run `kubewitness` in a pod, as its administrator."""
        return self.kubectl.ok("exec", f"{NAME}-{pod}", "--", "kubewitness", *arguments)

    def reaches(self, pod: str, host: str, port: int) -> bool:
        """Whether a program in a pod can connect there."""
        script = f"import socket; socket.create_connection(({host!r}, {port}), 5)"
        return self.kubectl.run("exec", pod, "--", "python3", "-c", script).code == 0

    @property
    def database_port(self) -> int:
        """Where PostgreSQL listens, on the node's address."""
        return int(yaml.safe_load(self.values.read_text())["database"]["port"])

    def get(self, *arguments: str) -> Any:
        """`kubectl get … -o json`."""
        return json.loads(self.kubectl.ok("get", *arguments, "-o", "json"))

    def identities(self) -> list[str]:
        """What must outlive everything: each pod's writer, its claim, and the keys all share."""
        claims = sorted(item["metadata"]["uid"] for item in self.get("pvc")["items"])
        keys = self.get("secret", f"{NAME}-keys")
        writers = [(volume / "data" / "instance").read_text() for volume in self.volumes]
        return [*writers, *claims, keys["metadata"]["uid"], json.dumps(keys["data"])]

    def wait_ready(self, replicas: int) -> None:
        """Wait until so many pods are ready."""
        self.kubectl.ok(
            "wait",
            f"--for=jsonpath={{.status.readyReplicas}}={replicas}",
            f"statefulset/{NAME}",
            "--timeout=150s",
            timeout=170,
        )


def helm_client(directory: Path, kubeconfig: Path, namespace: str) -> Client:
    """Helm with nothing of the user's own configuration."""
    home = {f"HELM_{name}_HOME": str(directory / name) for name in ("CACHE", "CONFIG", "DATA")}
    return Client(find_program("helm"), kubeconfig, namespace, home)


@contextmanager
def reachable_postgres() -> Iterator[Postgres]:
    """A real PostgreSQL beside the cluster, on the node's address, that pods may connect to."""
    server = Postgres()
    server.host = NODE_ADDRESS
    with (server.data / "pg_hba.conf").open("a") as rules:
        for network in (POD_NETWORK, f"{NODE_ADDRESS}/32"):
            rules.write(f"host all all {network} scram-sha-256\n")
    with server:
        server.exec(f"CREATE ROLE {LOGIN} LOGIN PASSWORD '{PASSWORD}'")
        yield server


def secret(kubectl: Client, name: str, **entries: str) -> None:
    """Make a Secret; its content goes through a pipe."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {key.replace("_", "-"): value for key, value in entries.items()},
    }
    kubectl.ok("apply", "-f", "-", stdin=json.dumps(manifest).encode())


def restricted_namespace(admin: Client, name: str) -> Client:
    """A namespace in which the API server refuses every pod that is not restricted; kubectl in it."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": levels},
    }
    admin.ok("apply", "-f", "-", stdin=json.dumps(manifest).encode())
    there = admin.within(name)
    there.ok("wait", "--for=create", "serviceaccount/default", "--timeout=20s")
    return there


def volume(admin: Client, directory: Path, name: str, storage_class: str) -> Path:
    """A volume of the node's disk that belongs to whom the pods run as; where it lies."""
    place = directory / name
    place.mkdir()
    os.chown(place, USER_ID, USER_ID)
    place.chmod(0o770)
    manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{storage_class}-{name}"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": storage_class,
            "hostPath": {"path": str(place), "type": "Directory"},
        },
    }
    admin.ok("apply", "-f", "-", stdin=json.dumps(manifest).encode())
    return place


def small(storage_class: str) -> Values:
    """Values that fit a test: the image that the chart names, never pulled, small journals, a short drain."""
    return {
        "image": {"pullPolicy": "Never"},
        "impersonation": {"groups": ["dev"]},
        "persistence": {"storageClass": storage_class, "size": "1Gi"},
        "drain": {"longestStreamSeconds": 20, "preStopSeconds": 3},
        "probes": {"readiness": {"periodSeconds": 2}},
        # A request is also a share: with less, whatever else the machine does would come first.
        "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}},
        "jobResources": {"requests": {"cpu": "500m", "memory": "32Mi"}},
        "settings": {
            "journal": {
                # The tests' directory may be in memory or in a container's layer.
                "unsafe_filesystem": "allow",
                "segment_bytes": 8 * 1024 * 1024,
                "reserve_bytes": 0,
            }
        },
    }


def replicated(database: Postgres) -> Values:
    """What two replicas need besides."""
    return {
        "replicas": 2,
        "service": {"type": "NodePort", "nodePort": NODE_PORT},
        "database": {
            "existingSecret": "serve-database",
            "port": database.port,
            "migration": {"existingSecret": "admin-database", "login": LOGIN},
        },
    }


def bystander(name: str) -> dict[str, Any]:
    """A restricted pod of our image that serves a page on the port `PAGE`."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "page",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["python3", "-m", "http.server", "--directory=/tmp", str(PAGE)],
        "securityContext": security,
        "readinessProbe": {"tcpSocket": {"port": PAGE}, "periodSeconds": 1},
    }
    confined = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"securityContext": confined, "containers": [container]},
    }


def opening(port: int) -> dict[str, Any]:
    """A NetworkPolicy that lets every pod out to a port."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "opening"},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"ports": [{"port": port}]}],
        },
    }


def write_values(path: Path, values: Values) -> Path:
    """A file of values for Helm."""
    path.write_text(yaml.safe_dump(values))
    return path


def last_commands(notes: str) -> str:
    """The last block of commands that NOTES.txt shows."""
    lines = notes.rstrip().splitlines()
    block: list[str] = []
    while lines and lines[-1].startswith("  "):
        block.insert(0, lines.pop().strip())
    return "\n".join(block)


def run_commands(commands: str, directory: Path, kubectl: Client) -> None:
    """Run them in a shell as a person would, with the administrator's kubectl."""
    path = f"{kubectl.program.parent}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-euc", commands],
        cwd=directory,
        env={**os.environ, "PATH": path, "KUBECONFIG": str(kubectl.kubeconfig)},
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def process_of(pod: str) -> int:
    """The process of `kubewitness serve` in a pod of that name, as the node numbers it."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            host = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and f"HOSTNAME={pod}".encode() in host:
            return int(entry.name)
    raise AssertionError(f"no process of {pod}")


def eventually(what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not after {seconds:.0f} s: {what}"
        time.sleep(0.5)
