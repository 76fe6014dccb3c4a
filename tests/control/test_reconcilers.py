"""How a cluster's RoleBindings are looked after, over REST."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cli.client import Client
from proxy.errors import (
    ConflictError,
    DeniedError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from proxy.reaching import Upstream
from proxy.state.access import Scope, ScopeKind
from tests.control.plane import Plane
from tests.upstream.fake_rbac import FakeRbac, serving

PATH = "/clusters/prod/reconciler"
PROD = Scope(ScopeKind.CLUSTER, cluster="prod")


@pytest.fixture
def plane(tmp_path: Path, unused_tcp_port: int) -> Iterator[Plane]:
    permit = Upstream(plain_http=(f"http://127.0.0.1:{unused_tcp_port}",))
    with Plane(tmp_path / "data", upstream=permit) as running:
        yield running


@pytest.fixture
def cluster(plane: Plane, unused_tcp_port: int) -> Iterator[FakeRbac]:
    fake = FakeRbac(port=unused_tcp_port)
    registered = {"name": "prod", "kubeconfig": fake.kubeconfig().decode()}
    plane.client().post("/clusters", registered)
    running = serving(fake)
    plane.run(running.__aenter__())
    yield fake
    plane.run(running.__aexit__(None, None, None))


def test_it_is_put_shown_and_taken_back(plane: Plane, cluster: FakeRbac) -> None:
    client = plane.client()
    plane.granted("alice", "namespace-admin", Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="web"))  # fmt: skip
    with pytest.raises(NotFoundError, match="not looked after"):
        client.get(PATH)
    made = client.change(
        "PUT", PATH, {"kubeconfig": cluster.kubeconfig().decode(), "enforce": True}
    )
    assert (made["server"], made["enforce"], made["drift"]) == (
        f"http://127.0.0.1:{cluster.port}",
        True,
        ["web/kubewitness-namespace-admin is missing"],
    )
    assert client.get(PATH) == made
    assert client.delete(PATH) is None
    with pytest.raises(NotFoundError):
        client.get(PATH)
    recorded = json.dumps(plane.events())
    assert "cluster.reconciler.set" in recorded
    assert "hunter2" not in recorded
    intent, outcome = (item["detail"] for item in plane.events("cluster.reconciler.set"))
    assert (intent["server"], intent["login"]) == (made["server"], "token")
    assert outcome["after"]["server"] == made["server"]


def test_a_change_in_between_is_noticed(plane: Plane, cluster: FakeRbac) -> None:
    client, body = plane.client(), {"kubeconfig": cluster.kubeconfig().decode()}
    with pytest.raises(ConflictError, match="changed in between"):
        client.change("PUT", PATH, body, version='"1"')
    client.change("PUT", PATH, body)
    _, version = client.versioned(PATH)
    client.change("PUT", PATH, body | {"enforce": True}, version=version)
    with pytest.raises(ConflictError, match="changed in between"):
        client.change("PUT", PATH, body, version=version)
    with pytest.raises(ConflictError, match="changed in between"):
        client.delete(PATH, version=version)
    detail = plane.events("cluster.reconciler.set")[5]["detail"]
    assert (detail["before"]["enforce"], detail["after"]["enforce"]) == (False, True)
    client.delete(PATH, version=client.versioned(PATH)[1])


def test_it_moves_with_the_cluster(plane: Plane, cluster: FakeRbac) -> None:
    client, path = plane.client(), "/clusters/prod"
    client.change("PUT", PATH, {"kubeconfig": cluster.kubeconfig().decode()})
    moved = cluster.kubeconfig().replace(b"127.0.0.1", b"localhost").decode()
    client.change("PATCH", path, {"kubeconfig": moved})
    with pytest.raises(
        InvalidInputError, match=f"http://localhost:{cluster.port} is not encrypted"
    ):
        client.get(PATH)


def test_an_account_that_cannot_do_it_is_not_taken(plane: Plane, cluster: FakeRbac) -> None:
    client = plane.client()
    with pytest.raises(InvalidInputError):
        client.change("PUT", PATH, {"kubeconfig": "no YAML: ["})
    cluster.refuses = {"GET"}
    with pytest.raises(UnavailableError, match="is forbidden"):
        client.change("PUT", PATH, {"kubeconfig": cluster.kubeconfig().decode()})
    with pytest.raises(NotFoundError, match="not looked after"):
        client.get(PATH)


def test_it_is_for_those_who_manage_that_cluster(plane: Plane, cluster: FakeRbac) -> None:
    body = {"kubeconfig": cluster.kubeconfig().decode()}
    plane.client().post("/clusters", {"name": "test", "inCluster": True})
    other = Scope(ScopeKind.CLUSTER, cluster="test")
    stranger = Client(plane.granted("bob", "cluster-admin", other))
    looker = Client(plane.granted("carol", "admin-read-only"))
    owner = Client(plane.granted("dora", "cluster-admin", PROD))
    with pytest.raises(NotFoundError, match="no cluster 'prod'"):
        stranger.change("PUT", PATH, body)
    with pytest.raises(DeniedError):
        looker.change("PUT", PATH, body)
    owner.change("PUT", PATH, body)
    assert looker.get(PATH)["enforce"] is False
    with pytest.raises(DeniedError):
        looker.delete(PATH)
    owner.delete(PATH)
