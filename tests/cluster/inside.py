"""Inside the room: bring the whole cluster up, run one command in it, and give its exit code."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster import binaries, system_pods
from tests.cluster.components import POLL_SECONDS, ClusterError, Components
from tests.cluster.contain import furnish, weigh_pods
from tests.cluster.control_plane import ControlPlane, create
from tests.cluster.node import NODE_NAME, Node

# On the room's own /run, in memory: nothing of it is left behind.
STATE = Path("/run/cluster")
NODE_SECONDS = 60
# What a command has to end after it was told that the cluster broke down.
GRACE_SECONDS = 5


def run(logs: Path, command: list[str]) -> int:
    """Start the cluster, run `command` in it with the variables that describe it, and give its exit code."""
    # Ctrl-C is for the command.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    started = time.monotonic()
    try:
        furnish()
        weigh_pods()
        programs = _link_binaries(STATE / "bin")
        cluster = Cluster(programs, logs)
        cluster.start()
        print(f"the cluster is up after {time.monotonic() - started:.1f} s", file=sys.stderr)
        return _run_command(command, cluster)
    except ClusterError as error:
        print(f"the test cluster failed: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or b"").decode(errors="replace")
        print(f"the test cluster failed: {error}\n{said}", file=sys.stderr)
    return 1


class Cluster:
    """The running cluster: its parts, and the environment that its users get."""

    def __init__(self, programs: Path, logs: Path) -> None:
        path = f"{programs}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        self.components = Components(logs, {**os.environ, "PATH": path})
        self._programs = programs
        self._control_plane = ControlPlane(self.components, programs, STATE, logs)
        self._node = Node(self.components, programs, STATE, logs)
        self._path = path

    def start(self) -> None:
        """Start everything and wait until pods run, names resolve and the metrics API answers.

        Raises:
            ClusterError: a part did not come up; quotes its log.
        """
        plane, node = self._control_plane, self._node
        plane.start_etcd()
        self.first = plane.describe("first", 6443, "10.96.0.0/16")
        plane.start_api_server(self.first, node=True)
        node.start_containerd()
        importing = _Background(node.import_images)
        self.admin = self.first.kubeconfig("admin", "admin", "system:masters")
        plane.wait_api_server(self.first, self.admin)
        plane.start_controllers(self.first)
        importing.join()
        node.start_kubelet(self.first)
        node.start_kube_proxy(self.first)
        others = [
            plane.describe("second", 6444, "10.97.0.0/16"),
            plane.describe("third", 6445, "10.98.0.0/16"),
        ]
        self.others = [
            (item, item.kubeconfig("admin", "admin", "system:masters")) for item in others
        ]
        create(self._programs / "kubectl", self.admin, system_pods.manifests())
        self._wait_node()
        for other in others:
            plane.start_api_server(other, node=False)
        self._wait_addons()
        for other, admin in self.others:
            plane.wait_api_server(other, admin)
            plane.start_aggregation(other)

    def environment(self) -> dict[str, str]:
        """The variables that tell a command where the cluster is."""
        others: dict[str, str] = {}
        for number, (other, admin) in enumerate(self.others, start=2):
            others[f"CLUSTER{number}_KUBECONFIG"] = str(admin)
            others[f"CLUSTER{number}_AUDIT_LOG"] = str(other.audit_log)
        return {
            **os.environ,
            **others,
            "PATH": self._path,
            "KUBECONFIG": str(self.admin),
            "CLUSTER_BIN": str(self._programs),
            "CLUSTER_AUDIT_LOG": str(self.first.audit_log),
        }

    def _wait_node(self) -> None:
        self._wait_kubectl(
            "the node is ready", "kubelet", "--for=condition=Ready", f"node/{NODE_NAME}"
        )

    def _wait_addons(self) -> None:
        for name in ("coredns", "metrics-server"):
            self._wait_kubectl(
                f"{name} is available",
                "kubelet",
                "--for=condition=Available",
                f"--namespace={system_pods.NAMESPACE}",
                f"deployment/{name}",
            )
        self._wait_kubectl(
            "the metrics API is available",
            "kube-apiserver-first",
            "--for=condition=Available",
            "apiservice/v1beta1.metrics.k8s.io",
        )
        # The controllers make it in every namespace, and no pod is admitted to one that lacks it.
        self._wait_kubectl(
            "the default service account is there",
            "kube-controller-manager",
            "--for=create",
            "--namespace=default",
            "serviceaccount/default",
        )

    def _wait_kubectl(self, what: str, suspect: str, *arguments: str) -> None:
        """Wait with `kubectl wait`, again and again so that a component's death is noticed soon."""
        kubectl = [str(self._programs / "kubectl"), f"--kubeconfig={self.admin}"]
        command = [*kubectl, "wait", "--timeout=2s", *arguments]
        self.components.wait_command(what, command, suspect=suspect, timeout=NODE_SECONDS)


class _Background:
    """A step that goes on beside others; `join` waits for it and raises what it raised."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self) -> None:
        try:
            self._step()
        except (ClusterError, OSError, subprocess.CalledProcessError) as error:
            self._error = error

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


def _link_binaries(directory: Path) -> Path:
    """One directory that holds every binary by its name, wherever each one is kept."""
    directory.mkdir(parents=True)
    for binary in binaries.BINARIES:
        (directory / binary.name).symlink_to(binaries.locate(binary))
    return directory


def _run_command(command: list[str], cluster: Cluster) -> int:
    """Run the command and watch the components meanwhile; when one dies, end the command."""
    environment = cluster.environment()
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        print(f"{command[0]}: no such command", file=sys.stderr)
        return 127
    process = subprocess.Popen([program, *command[1:]], env=environment)
    while True:
        try:
            code = process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            try:
                cluster.components.check()
            except ClusterError:
                _end(process)
                raise
        else:
            return code if code >= 0 else 128 - code


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
