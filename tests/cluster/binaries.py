"""Which binaries the test cluster is made of, and where the finished ones are kept.

A binary is named by the Go module that pins it, the package that is its main, and the version it is to report.
The modules are committed here (`go.mod`, `go.sum`), so what is built is the same everywhere.
The finished binaries live outside the tree, in one directory for each module that is named by the hash of that
module's files: a change of a version makes a new directory and leaves the others alone.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

KUBERNETES_VERSION = "v1.37.2"
OLDER_KUBECTL_VERSION = "v1.34.13"

# The directory of each module below HERE; modules apart because their requirements contradict each other.
KUBERNETES = "."
CONTAINERD = "containerd"
ADDONS = "addons"
OLDER = "kubectl-older"

_COMPONENT_VERSION = "k8s.io/component-base/version"
# Goes into the User-Agent.
_CLIENT_VERSION = "k8s.io/client-go/pkg/version"


@dataclass(frozen=True)
class Binary:
    """A command to build: its file name, its module, its main package and the linker's variables."""

    name: str
    module: str
    package: str
    variables: tuple[str, ...] = ()

    @property
    def ldflags(self) -> str:
        """The linker's flags: no symbols, and the version that the command reports."""
        return " ".join(["-s", "-w", *(f"-X {variable}" for variable in self.variables)])


def _stamp(version: str) -> tuple[str, ...]:
    """The variables that make a Kubernetes command report `version`; without them it says v0.0.0-master."""
    major, minor, _ = version.removeprefix("v").split(".")
    return (
        f"{_COMPONENT_VERSION}.gitVersion={version}",
        f"{_COMPONENT_VERSION}.gitMajor={major}",
        f"{_COMPONENT_VERSION}.gitMinor={minor}",
        f"{_CLIENT_VERSION}.gitVersion={version}",
        f"{_CLIENT_VERSION}.gitCommit=unknown",
    )


def _kubernetes(name: str) -> Binary:
    return Binary(name, KUBERNETES, f"k8s.io/kubernetes/cmd/{name}", _stamp(KUBERNETES_VERSION))


def _containerd(name: str) -> Binary:
    version = "github.com/containerd/containerd/v2/version.Version=v2.4.2"
    return Binary(name, CONTAINERD, f"github.com/containerd/containerd/v2/cmd/{name}", (version,))


# In the order of building: first what makes a control plane, so that an interrupted build is of use early.
BINARIES = (
    Binary("etcd", KUBERNETES, "./etcd"),
    _kubernetes("kube-apiserver"),
    _kubernetes("kubectl"),
    _kubernetes("kubelet"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kube-proxy"),
    Binary("pause", KUBERNETES, "./pause"),
    Binary(
        "helm",
        KUBERNETES,
        "helm.sh/helm/v4/cmd/helm",
        ("helm.sh/helm/v4/internal/version.version=v4.3.1",),
    ),
    _containerd("containerd"),
    _containerd("containerd-shim-runc-v2"),
    _containerd("ctr"),
    Binary("coredns", ADDONS, "./coredns"),
    Binary(
        "metrics-server",
        ADDONS,
        "sigs.k8s.io/metrics-server/cmd/metrics-server",
        (f"{_COMPONENT_VERSION}.gitVersion=v0.9.0",),
    ),
    Binary("kubectl-older", OLDER, ".", _stamp(OLDER_KUBECTL_VERSION)),
)

# What `KUBEBUILDER_ASSETS`, the convention of controller tests, may bring ready-made.
ASSETS = frozenset({"etcd", "kube-apiserver", "kubectl"})


def cache_root() -> Path:
    """The directory that keeps everything built or fetched for the cluster, outside the tree."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kubewitness" / "cluster"


def module_directory(module: str) -> Path:
    """Where the finished binaries of `module` are kept; the name changes with what they are built from."""
    digest = hashlib.sha256()
    root = HERE / module
    sources = [root / "go.mod", root / "go.sum", *root.glob("*.go"), *root.glob("*/main.go")]
    for source in sorted(sources):
        digest.update(f"{source.relative_to(root)}\0".encode())
        digest.update(source.read_bytes())
    for binary in BINARIES:
        if binary.module == module:
            digest.update(f"{binary}\0".encode())
    name = "kubernetes" if module == KUBERNETES else module
    return cache_root() / f"{name}-{digest.hexdigest()[:12]}"


def locate(binary: Binary) -> Path:
    """Where `binary` is, or will be once it is built."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and binary.name in ASSETS:
        candidate = Path(assets) / binary.name
        if candidate.exists():
            return candidate
    return module_directory(binary.module) / binary.name
