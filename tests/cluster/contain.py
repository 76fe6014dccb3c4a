"""The closed room that the cluster lives in: its own mounts, network and processes, gone when its leader ends.

Outside: `enter` starts this program again under `unshare`, and waits. Should it be killed, the kernel kills
`unshare` and with it the first process of the room and thereby every process in it, mounts and network included.
Inside: `first_process` is what the kernel calls init: it reaps what others leave behind and ends with the worker.
What the kernel does not take away, the control groups of the pods, `enter` removes afterwards.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.cluster.build import find_tool

# Where the runtime puts the control groups of pods when the kubelet names no parent, in every hierarchy:
# version 2 has one at the top, version 1 a directory for each controller.
CGROUPS = Path("/sys/fs/cgroup")
POD_CGROUPS = "k8s.io"
# As many ordinary processes as they are worth together.
POD_WEIGHT = 32

NODE_ADDRESS = "172.31.250.2"
# Addresses outside the node's own network that the kernel must find a route for before they are translated.
SERVICE_NETWORKS = ("10.96.0.0/16", "10.97.0.0/16")

# Directories that node programs write to by habit; each is hidden by an empty one that only the room sees.
PRIVATE_DIRECTORIES = ("/run", "/var/log", "/var/lib/cni")


def enter(arguments: list[str], *, keep_logs: bool) -> int:
    """Run `python -m tests.cluster inside ARGUMENTS` in a room of its own and give its exit code."""
    logs = Path(tempfile.mkdtemp(prefix="kubewitness-cluster-"))
    namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    program = [sys.executable, "-m", "tests.cluster", "inside", str(logs), *arguments]
    room = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, *program],
        env={name: value for name, value in os.environ.items() if not name.endswith("_proxy")},
    )
    # Ctrl-C reaches everyone in the room by the terminal; whoever asks us to stop wants the room gone.
    signal.signal(signal.SIGINT, lambda *_: None)
    for asked in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, lambda *_: room.kill())
    code = room.wait()
    _remove_cgroups()
    if code == 0 and not keep_logs:
        shutil.rmtree(logs, ignore_errors=True)
    else:
        print(f"the cluster's logs are in {logs}", file=sys.stderr)
    return code if code >= 0 else 128 - code


def first_process(worker: Callable[[], int]) -> int:
    """Fork the worker, reap every process of the room until it ends, and give its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = worker()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def furnish() -> None:
    """Inside: make mounts propagate within the room, hide shared directories, bring up the network."""
    # Pods mount into their volumes what the node mounts later, so all mounts below / are one group.
    _run("mount", "--make-rshared", "/")
    for directory in PRIVATE_DIRECTORIES:
        Path(directory).mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", directory)
    Path("/run/lock").mkdir()
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "node0", "type", "veth", "peer", "name", "node0-peer")
    _run("ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", "node0")
    for link in ("node0", "node0-peer"):
        _run("ip", "link", "set", link, "up")
    for network in SERVICE_NETWORKS:
        _run("ip", "route", "add", network, "dev", "node0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def weigh_pods() -> None:
    """Inside: let all pods together count as many processes, not as one, on a machine that does more than this.

    The kernel shares the processor between the processes outside control groups and the group of all pods, in which a
    proxy that starts would otherwise wait a minute for what it does in a second.
    """
    version_1 = CGROUPS / "cpu" / POD_CGROUPS
    version_2 = CGROUPS / POD_CGROUPS
    if version_1.parent.is_dir():
        version_1.mkdir(exist_ok=True)
        (version_1 / "cpu.shares").write_text(str(POD_WEIGHT * 1024))
    elif (CGROUPS / "cgroup.controllers").exists():
        version_2.mkdir(exist_ok=True)
        if (version_2 / "cpu.weight").exists():
            (version_2 / "cpu.weight").write_text(str(POD_WEIGHT * 100))


def _run(name: str, *arguments: str) -> None:
    subprocess.run([find_tool(name) or name, *arguments], check=True)


def _remove_cgroups() -> None:
    """Remove the control groups of pods that are gone, of an earlier room that was killed too.

    A group that has processes cannot be removed, so nothing that lives is touched.
    """
    for root in (CGROUPS / POD_CGROUPS, *CGROUPS.glob(f"*/{POD_CGROUPS}")):
        for directory, _, _ in os.walk(root, topdown=False):
            with contextlib.suppress(OSError):
                Path(directory).rmdir()
