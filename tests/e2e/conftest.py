"""A real cluster, the clients of it, and the ways that lead to it.

A test that takes `kubectl` (or `helm`) runs once for each way: `direct`, where the administrator's credential
impersonates the user, and `proxied`, with a kubeconfig that the proxy issued. Nothing in the test says which, so
whatever it asserts holds for both.

`make e2e` starts a cluster of our own around this suite; with `E2E_KUBECONFIG=FILE` it runs against that cluster, with
pods of `E2E_IMAGE` (any busybox), and with `E2E_SECOND_KUBECONFIG=FILE` where a test is about two. The day in the life
needs three, and their audit logs: only ours will do.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import build, images, node
from tests.deploy import image as own_image
from tests.e2e.client import Client
from tests.e2e.serving import Proxy, impersonating, serve

CHART = Path(__file__).parent / "chart"

# How a client can reach the cluster, by the names of the fixtures that say so.
WAYS = ("direct", "proxied")

FIRST, SECOND = "first", "second"
USER, GROUP = "alice", "dev"

# Serves its page, and says something every so often.
WEB = (
    "mkdir -p /www; echo hello from a pod > /www/index.html; httpd -p 8080 -h /www;"
    " i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done"
)


@dataclass(frozen=True)
class Cluster:
    """Where the cluster is and what is known of it; the logs only when it is ours."""

    kubeconfig: Path
    image: str
    audit_log: Path | None
    second_kubeconfig: Path | None
    third_kubeconfig: Path | None = None


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster under test."""
    own = os.environ.get("E2E_KUBECONFIG")
    if own:
        image = os.environ.get("E2E_IMAGE", "busybox:1.36")
        second = os.environ.get("E2E_SECOND_KUBECONFIG")
        return Cluster(Path(own), image, None, Path(second) if second else None)
    if "CLUSTER_BIN" not in os.environ:
        pytest.fail(
            "these tests need a cluster: run `make e2e`, or set E2E_KUBECONFIG", pytrace=False
        )
    return Cluster(
        Path(os.environ["KUBECONFIG"]),
        images.BUSYBOX,
        Path(os.environ["CLUSTER_AUDIT_LOG"]),
        Path(os.environ["CLUSTER2_KUBECONFIG"]),
        Path(os.environ["CLUSTER3_KUBECONFIG"]),
    )


@pytest.fixture(scope="session")
def audit_log(cluster: Cluster) -> Path:
    """The API server's own audit log: the oracle for what was forwarded."""
    if cluster.audit_log is None:
        pytest.skip("needs the API server's audit log, which a cluster of your own does not show")
    return cluster.audit_log


@pytest.fixture(scope="session")
def second_kubeconfig(cluster: Cluster) -> Path:
    """The administrator of the second cluster."""
    if cluster.second_kubeconfig is None:
        pytest.skip("needs a second cluster: set E2E_SECOND_KUBECONFIG")
    return cluster.second_kubeconfig


@pytest.fixture(scope="session")
def third_kubeconfig(cluster: Cluster) -> Path:
    """The administrator of the third cluster."""
    if cluster.third_kubeconfig is None:
        pytest.skip("needs three clusters with their audit logs, as `make e2e` has them")
    return cluster.third_kubeconfig


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Compare the records last, when there is something in them."""
    items.sort(key=lambda item: item.path.name == "test_record.py")


def find_program(name: str) -> Path:
    """A client by its name: of our cluster, of the machine, or built now."""
    own = os.environ.get("CLUSTER_BIN")
    found = shutil.which(name, path=own) if own else shutil.which(name)
    return Path(found) if found else build.ensure_binary(name)


@pytest.fixture(scope="session")
def admin(cluster: Cluster) -> Client:
    """Kubectl with the administrator's kubeconfig: for preparing, never for what a test is about."""
    return Client(find_program("kubectl"), cluster.kubeconfig)


@pytest.fixture(scope="session")
def image() -> None:
    """Our own image given to the node, since no registry has it."""
    if "CLUSTER_BIN" not in os.environ:
        pytest.skip("needs the node's own disk and processes, which a cluster of your own hides")
    node.import_archive(find_program("ctr"), own_image.archive())


@pytest.fixture(scope="session")
def proxy(
    cluster: Cluster, admin: Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy in front of the cluster, by an account that may only impersonate, and of the second one."""
    with serve(tmp_path_factory.mktemp("proxy")) as running:
        manifest = running.bootstrap(FIRST, admin, GROUP)
        if cluster.second_kubeconfig:
            # Nobody there makes tokens for service accounts.
            running.cli("cluster", "add", SECOND, "--kubeconfig", str(cluster.second_kubeconfig))
        yield running
        there = admin.within("kubewitness")
        there.ok("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=manifest.encode())


@pytest.fixture(scope="session")
def user(admin: Client) -> Iterator[str]:
    """The user whom both ways lead to, who may do everything in the cluster."""
    binding = f"e2e-{os.getpid()}"
    admin.ok(
        "create", "clusterrolebinding", binding, "--clusterrole=cluster-admin", f"--user={USER}"
    )
    yield USER
    admin.ok("delete", "clusterrolebinding", binding)


@pytest.fixture(scope="session")
def direct_kubeconfig(admin: Client, user: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's way without the proxy: the administrator's credential, impersonating the user."""
    target = tmp_path_factory.mktemp("direct") / "kubeconfig"
    return impersonating(admin.kubeconfig, target, admin.program, user, GROUP)


@pytest.fixture(scope="session")
def proxied_kubeconfig(proxy: Proxy, user: str) -> Path:
    """The user's way through the proxy: a credential that the proxy issued."""
    return proxy.issue(user, GROUP, clusters=(FIRST,))


@pytest.fixture(scope="session", params=WAYS)
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    """The kubeconfig for the way of this test."""
    return Path(request.getfixturevalue(f"{request.param}_kubeconfig"))


@pytest.fixture(scope="session", autouse=True)
def discovery_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clients cache what they discover here, and not in the home of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECACHEDIR", str(tmp_path_factory.mktemp("discovery")))
        yield


@pytest.fixture
def kubectl(kubeconfig: Path, namespace: str) -> Client:
    """The newest kubectl, in a namespace of the test's own."""
    return Client(find_program("kubectl"), kubeconfig, namespace)


@pytest.fixture
def older_kubectl(kubeconfig: Path, namespace: str) -> Client:
    """A kubectl three minor releases behind the newest."""
    return Client(find_program("kubectl-older"), kubeconfig, namespace)


@pytest.fixture
def helm(kubeconfig: Path, namespace: str, tmp_path: Path) -> Client:
    """Helm, with nothing of the user's own configuration."""
    home = {f"HELM_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "CONFIG", "DATA")}
    return Client(find_program("helm"), kubeconfig, namespace, home)


_numbers = itertools.count(1)


def make_namespace(admin: Client, name: str) -> str:
    """Create a namespace in which pods can be made at once."""
    admin.ok("create", "namespace", name)
    admin.ok(
        "wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=20s"
    )
    return name


@pytest.fixture
def namespace(admin: Client) -> Iterator[str]:
    """A namespace for one test, taken away afterwards without waiting."""
    name = make_namespace(admin, f"e2e-{os.getpid()}-{next(_numbers)}")
    yield name
    admin.ok("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def shared(admin: Client, cluster: Cluster) -> Iterator[str]:
    """A namespace with the running deployment and service `web`, which tests use and do not change."""
    name = make_namespace(admin, f"e2e-{os.getpid()}-shared")
    there = admin.within(name)
    there.ok("create", "deployment", "web", f"--image={cluster.image}", "--", "sh", "-c", WEB)
    there.ok("expose", "deployment", "web", "--port=80", "--target-port=8080")
    there.ok("rollout", "status", "deployment/web", "--timeout=60s")
    yield name
    admin.ok("delete", "namespace", name, "--wait=false")


@pytest.fixture
def web(kubeconfig: Path, shared: str) -> Client:
    """Kubectl in the namespace that has `web`."""
    return Client(find_program("kubectl"), kubeconfig, shared)
