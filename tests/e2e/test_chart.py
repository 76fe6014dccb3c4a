"""The chart in a real cluster: our own image, two replicas and a real PostgreSQL, through a life of a release.

Every pod runs in a namespace where the API server enforces restricted Pod Security, and the node holds the NetworkPolicies
(`tests.cluster.policies`), so what works here works with nothing else allowed. The tests share one release and stand in the
order of its life; each leaves it ready for the next.
"""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.contain import NODE_ADDRESS
from tests.cluster.node import NODE_NAME
from tests.cluster.policies import enforced
from tests.deploy.image import NAME as IMAGE
from tests.e2e import release as releases
from tests.e2e.client import Client
from tests.e2e.conftest import GROUP, USER, find_program
from tests.e2e.load import Load, lost
from tests.e2e.release import NODE_PORT, Release, eventually
from tests.e2e.serving import kubewitness

pytestmark = pytest.mark.timeout(900)

NAMESPACE = "kubewitness-chart"
GRANTED = "kubewitness-granted"


@pytest.fixture(scope="module")
def policies(
    admin: Client, image: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The cluster's NetworkPolicies hold."""
    del image
    with enforced(admin.program, admin.kubeconfig, tmp_path_factory.mktemp("policies")):
        yield


@pytest.fixture(scope="module")
def granted(admin: Client, image: None) -> Iterator[Client]:
    """A namespace with the pod `web`, in which somebody made the rights of grants by hand; kubectl in it."""
    del image
    there = releases.restricted_namespace(admin, GRANTED)
    there.ok("apply", "-f", "-", stdin=json.dumps(releases.bystander("web")).encode())
    rights = kubewitness("cluster", "bootstrap", "local", "--rights", "--namespace", GRANTED)
    there.ok("apply", "-f", "-", stdin=rights.encode())
    yield there
    admin.run("delete", "namespace", GRANTED, "--wait=false")


@pytest.fixture(scope="module")
def release(
    policies: None, granted: Client, admin: Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """All that the chart needs around it; not installed yet."""
    del policies, granted
    directory = tmp_path_factory.mktemp("chart")
    kubectl = releases.restricted_namespace(admin, NAMESPACE)
    storage = releases.STORAGE_CLASS
    with releases.reachable_postgres() as server:
        database = server.create_database("audit")
        login = database.login(releases.LOGIN, releases.PASSWORD)
        releases.secret(kubectl, "serve-database", dsn=login)
        releases.secret(kubectl, "admin-database", admin_dsn=database.url)
        volumes = tuple(
            releases.volume(admin, directory, f"volume-{number}", storage) for number in range(2)
        )
        values = releases.small(storage) | releases.replicated(server)
        values["impersonation"]["roles"] = {"create": True, "namespaces": [GRANTED]}
        yield Release(
            releases.helm_client(directory, admin.kubeconfig, NAMESPACE),
            kubectl,
            releases.write_values(directory / "values.yaml", values),
            volumes,
        )
        admin.run("delete", "namespace", NAMESPACE, "--wait=true", timeout=90)
        for number in range(2):
            admin.run("delete", "persistentvolume", f"{storage}-volume-{number}", "--wait=false")


@pytest.fixture(scope="module")
def notes(release: Release) -> str:
    """What Helm printed; the release is installed and ready from here on.

    What was made by hand before is the release's from now on, as the chart's README says.
    """
    return release.install("--take-ownership")


@pytest.fixture(scope="module")
def alice(
    release: Release, notes: str, user: str, tmp_path_factory: pytest.TempPathFactory
) -> Client:
    """The kubeconfig that the commands at the end of NOTES.txt make, used from outside the pod network."""
    del user
    directory = tmp_path_factory.mktemp("alice")
    releases.run_commands(releases.last_commands(notes), directory, release.kubectl)
    file = directory / "alice.kubeconfig"
    assert file.stat().st_mode & 0o777 == 0o600
    return Client(find_program("kubectl"), file, "default")


def nothing_lost(release: Release, load: Load, audit_log: Path) -> None:
    """Wait until what was going on is over, and hold the record against both oracles."""

    def problems() -> list[str]:
        return lost(load.created, audit_log, release.account, release.volumes)

    def missing() -> set[str]:
        found = release.cli("audit", "export", "-u", USER, "--verb", "create", "-r", "configmaps")
        return set(load.created) - set(re.findall(r"fieldManager=([\w-]+)", found))

    try:
        eventually("every call has one outcome", lambda: not problems(), 30)
        eventually("every call is in the index", lambda: not missing(), 30)
    except AssertionError as error:
        raise AssertionError(f"{error}: {problems()[:5]} {list(missing())[:5]}") from error


def test_pods_are_ready_restricted_and_of_our_image(release: Release, notes: str) -> None:
    assert "2 pods" in notes
    pods = release.get("pods", "-l", "app.kubernetes.io/component=proxy")["items"]
    assert len(pods) == 2
    for pod in pods:
        (status,) = pod["status"]["containerStatuses"]
        assert (status["ready"], status["restartCount"], status["image"]) == (True, 0, IMAGE)
    # What only the install needed is gone, the right to create Secrets with it.
    for kind in ("jobs", "roles", "rolebindings"):
        assert release.get(kind)["items"] == []


def test_helm_test_passes(release: Release, notes: str) -> None:
    del notes
    release.helm.ok("test", releases.NAME, "--timeout=120s", timeout=150)


def test_kubectl_goes_through_the_service_and_is_on_record(release: Release, alice: Client) -> None:
    server = json.loads(alice.ok("config", "view", "-o", "json"))["clusters"][0]["cluster"]
    assert server["server"].startswith(f"https://{NODE_ADDRESS}:{NODE_PORT}/clusters/local")
    assert "kube-system" in alice.ok("get", "namespaces", "-o", "name")
    whoami = json.loads(alice.ok("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert (whoami["username"], GROUP in whoami["groups"]) == (USER, True)

    def found() -> bool:
        listed = json.loads(
            release.cli("audit", "search", "-u", USER, "-r", "namespaces", "-o", "json", pod=1)
        )
        return [item["verb"] for item in listed] == ["list"]

    eventually("the call is in the index that both share", found, 15)
    # Registered by itself, once for both, by an account that may do nothing else.
    (cluster,) = json.loads(release.cli("cluster", "list", "-o", "json"))
    assert (cluster["name"], cluster["inCluster"]) == ("local", True)
    check = json.loads(release.cli("cluster", "check", "local", "-o", "json"))
    assert check["note"] == ""


def test_who_has_a_grant_is_let_through_by_rights_that_the_chart_made(
    release: Release, notes: str, granted: Client, audit_log: Path, tmp_path: Path
) -> None:
    del notes
    place = ("--cluster", "local", "--namespace", GRANTED)
    release.cli("user", "add", "noah")
    release.cli("grant", "add", "--user", "noah", "--role", "namespace-read-only", *place)
    file = tmp_path / "noah.kubeconfig"
    file.touch(mode=0o600)
    server = ("--server", f"{NODE_ADDRESS}:{NODE_PORT}")
    file.write_text(release.cli("kubeconfig", "issue", "noah", "--ttl", "1h", *server, "-o", "-"))
    noah = Client(granted.program, file, GRANTED)
    assert noah.ok("get", "pods", "-o", "name").split() == ["pod/web"]
    done = noah.run("delete", "pod", "web")
    assert (done.code != 0, "noah" in done.errors) == (True, True), done.errors
    # It is by the chart's binding that the cluster let the one through, and it would refuse the other, too.
    group = f"kubewitness:namespace-read-only:{GRANTED}"
    binding = f'RoleBinding "kubewitness-read-only/{GRANTED}" of ClusterRole "view"'
    assert reasons(audit_log, "noah") == {f'RBAC: allowed by {binding} to Group "{group}"'}
    made = granted.ok("get", "rolebinding", "kubewitness-read-only", "-o", "json")
    assert json.loads(made)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    asked = ("auth", "can-i", "delete", "pods", "--as=noah", f"--as-group={group}")
    assert granted.run(*asked).text.strip() == "no"


def reasons(audit_log: Path, user: str) -> set[str]:
    """Why the API server let through what we asked it in a user's name about pods."""
    events = map(json.loads, audit_log.read_text().splitlines())
    return {
        event["annotations"]["authorization.k8s.io/reason"]
        for event in events
        if event.get("impersonatedUser", {}).get("username") == user
        and event.get("objectRef", {}).get("resource") == "pods"
    }


def test_the_namespace_enforces_restricted_pods(release: Release, notes: str) -> None:
    del notes
    done = release.kubectl.run(
        "run", "naughty", "--image=x", "--privileged", "--dry-run=server", "-o", "name"
    )
    assert "violates PodSecurity" in done.errors


@pytest.fixture
def stranger(release: Release, notes: str) -> Iterator[str]:
    """The address of a pod beside the release, which serves a page and is nobody to it."""
    del notes
    release.kubectl.ok(
        "apply", "-f", "-", stdin=json.dumps(releases.bystander("stranger")).encode()
    )
    release.kubectl.ok("wait", "--for=condition=Ready", "pod/stranger", "--timeout=60s", timeout=70)
    yield release.get("pod", "stranger")["status"]["podIP"]
    release.kubectl.ok("delete", "pod", "stranger", "--now")


def test_network_policies_let_pass_what_is_needed_and_nothing_else(
    release: Release, stranger: str
) -> None:
    address = release.get("pod", f"{releases.NAME}-0")["status"]["podIP"]
    proxy = f"{releases.NAME}-0"
    # In: the data plane for everyone, metrics for Prometheus.
    assert release.reaches("stranger", address, 8443)
    assert not release.reaches("stranger", address, 9464)
    release.kubectl.ok("label", "pod", "stranger", "app.kubernetes.io/name=prometheus")
    eventually("Prometheus scrapes", lambda: release.reaches("stranger", address, 9464), 10)
    # Out: names, the API server and the database, and no pod that has nothing to do with it.
    assert release.reaches(proxy, "kubernetes.default.svc", 443)
    assert release.reaches(proxy, NODE_ADDRESS, release.database_port)
    assert release.reaches("stranger", stranger, releases.PAGE)
    assert not release.reaches(proxy, stranger, releases.PAGE)
    release.kubectl.ok(
        "apply", "-f", "-", stdin=json.dumps(releases.opening(releases.PAGE)).encode()
    )
    eventually(
        "it was the policy that kept it",
        lambda: release.reaches(proxy, stranger, releases.PAGE),
        10,
    )
    release.kubectl.ok("delete", "networkpolicy", "opening")


def test_an_upgrade_under_load_fails_no_call(
    release: Release, alice: Client, audit_log: Path
) -> None:
    before = release.identities()
    pods = {pod["metadata"]["uid"] for pod in release.get("pods")["items"]}
    load = Load(alice, "upgrade")
    with load.running():
        release.upgrade("--set", "podAnnotations.revision=second")
    after = {pod["metadata"]["uid"] for pod in release.get("pods")["items"]}
    assert len([uid for uid in after if uid not in pods]) >= 2, "both pods are new"
    assert (load.failures, len(load.created) > 20) == ([], True), len(load.created)
    assert release.identities() == before
    nothing_lost(release, load, audit_log)


def test_a_rollback_keeps_journals_and_identities(release: Release, alice: Client) -> None:
    before = release.identities()
    timeout = f"--timeout={releases.SECONDS}s"
    release.helm.ok(
        "rollback", releases.NAME, "1", "--wait", timeout, timeout=releases.SECONDS + 30
    )
    template = release.get("statefulset", releases.NAME)["spec"]["template"]
    assert "revision" not in template["metadata"]["annotations"]
    assert release.identities() == before
    alice.ok("get", "namespaces")


def test_a_killed_pod_under_load_loses_nothing(
    release: Release, alice: Client, audit_log: Path
) -> None:
    load = Load(alice, "killed")
    with load.running():
        eventually("some calls were made", lambda: len(load.created) >= 5)
        os.kill(releases.process_of(f"{releases.NAME}-0"), signal.SIGKILL)
        so_far = len(load.created)
        eventually("the other one goes on", lambda: len(load.created) > so_far + 5)
        release.wait_ready(2)
    restarts = release.get("pod", f"{releases.NAME}-0")["status"]["containerStatuses"]
    assert restarts[0]["restartCount"] == 1
    nothing_lost(release, load, audit_log)


def test_a_drain_under_load_loses_nothing_and_never_takes_both(
    release: Release, admin: Client, alice: Client, audit_log: Path
) -> None:
    load = Load(alice, "drained")
    selector = f"--pod-selector=app.kubernetes.io/instance={releases.NAME}"
    drain = ("drain", NODE_NAME, selector, "--delete-emptydir-data", "--timeout=25s")
    try:
        with load.running():
            done = admin.run(*drain)
            # One is evicted and has nowhere to go: the budget keeps the other where it is.
            assert done.code != 0
            assert "violate the pod's disruption budget" in done.errors
            assert release.get("statefulset", releases.NAME)["status"]["readyReplicas"] == 1
            admin.ok("uncordon", NODE_NAME)
            release.wait_ready(2)
    finally:
        admin.ok("uncordon", NODE_NAME)
    assert (load.failures, len(load.created) > 5) == ([], True)
    nothing_lost(release, load, audit_log)


def test_after_an_uninstall_the_next_install_goes_on_where_it_ended(
    release: Release, admin: Client, alice: Client
) -> None:
    before = release.identities()
    release.uninstall()
    made = "statefulsets,services,networkpolicies,poddisruptionbudgets,configmaps,serviceaccounts"
    left = {item["metadata"]["name"] for item in release.get(made)["items"]}
    assert left == {"default", "kube-root-ca.crt"}, "what every namespace has"
    roles = admin.ok("get", "clusterroles,clusterrolebindings", "-o", "name")
    assert NAMESPACE not in roles
    assert "kubewitness-full" not in roles
    assert release.identities() == before
    release.install()
    assert release.identities() == before
    # The same authority, and the same state: the kubeconfig of before is good, the record goes on.
    alice.ok("get", "namespaces")
    search = ("audit", "search", "-u", USER, "-r", "namespaces", "-o", "json")
    eventually(
        "the calls of both releases are found",
        lambda: len(json.loads(release.cli(*search))) >= 3,
        15,
    )
    release.uninstall()
