"""Clusters over REST: what goes in, and that no secret comes out."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.client import Client
from proxy.errors import (
    ConflictError,
    DeniedError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from proxy.state.access import ORGANIZATION, Place, Scope, ScopeKind
from proxy.upstream.access import Access
from tests.control.plane import Plane, Seen, raw


def test_the_same_cluster_twice_is_a_conflict(plane: Plane) -> None:
    client = plane.client()
    client.post("/clusters", {"name": "prod", "inCluster": True})
    with pytest.raises(ConflictError, match="'prod' already"):
        client.post("/clusters", {"name": "prod", "inCluster": True})
    with pytest.raises(InvalidInputError):
        client.post("/clusters", {"name": "prod", "inCluster": True, "kubeconfig": "x"})


def test_what_comes_out_of_a_cluster_is_its_address(plane: Plane) -> None:
    client = plane.client()
    plane.clusters.seen = Seen(note="may list secrets")
    added = client.post("/clusters", {"name": "prod", "kubeconfig": "token: hunter2"})
    assert client.get("/clusters")["items"] == [added]
    assert (added["server"], added["note"]) == ("https://cluster.example:6443", "may list secrets")
    assert "hunter2" not in json.dumps(added)
    record = plane.services.watcher.current.clusters["prod"]
    assert b"hunter2" not in record.sealed
    assert plane.services.store.kubeconfig(record) == b"token: hunter2"


def test_a_check_updates_what_is_known(plane: Plane) -> None:
    client = plane.client()
    client.post("/clusters", {"name": "prod", "inCluster": True})
    plane.clusters.seen = Seen(note="may list secrets")
    assert client.post("/clusters/prod/check")["version"] == "v1.37.2"
    assert client.get("/clusters")["items"][0]["note"] == "may list secrets"


def test_a_removed_cluster_is_gone_at_once(plane: Plane) -> None:
    client = plane.client()
    client.post("/clusters", {"name": "prod", "inCluster": True})
    assert client.delete("/clusters/prod") is None
    assert "prod" not in plane.services.watcher.current.clusters
    with pytest.raises(NotFoundError):
        client.delete("/clusters/prod")
    assert [event["outcome"] for event in plane.events("cluster.remove")][-1].startswith("failed")


PROD = Scope(ScopeKind.CLUSTER, cluster="prod")
PATH = "/clusters/prod"
AT = "https://cluster.example:6443"


def account(token: str = "new", server: str = AT, **more: Any) -> dict[str, Any]:
    return {"kubeconfig": Access(server, token=token, **more).document("x").decode()}


def tokens(plane: Plane, name: str = "prod") -> bytes:
    store = plane.services.store
    return store.kubeconfig(plane.services.watcher.current.clusters[name])


class TestChange:
    @pytest.fixture
    def prod(self, plane: Plane) -> Plane:
        plane.client().post("/clusters", {"name": "prod"} | account("old"))
        return plane

    def test_it_stays_the_same_cluster(self, prod: Plane) -> None:
        client = prod.client()
        before = client.get(PATH)
        prod.clusters.seen = Seen(server="https://moved:6443", note="may list secrets")
        after = client.change("PATCH", PATH, account(server="https://moved:6443"))
        assert after == before | {"server": "https://moved:6443", "note": "may list secrets"}
        assert client.get(PATH) == after
        assert b"token: new" in tokens(prod)

    def test_the_record_has_both_and_no_secret(self, prod: Plane) -> None:
        prod.client().change("PATCH", PATH, account("hunter2") | {"reason": "rotated"})
        intent, outcome = prod.events("cluster.change")
        assert (intent["target"], intent["outcome"]) == ("prod", "requested")
        kept = {"reason": "rotated", "inCluster": False, "server": AT, "login": "token"}
        assert kept.items() <= intent["detail"].items()
        assert outcome["detail"]["replaced"] == {"server": AT, "login": "token"}
        assert outcome["detail"]["before"] == outcome["detail"]["after"]
        assert "hunter2" not in json.dumps(prod.events())

    def test_what_the_cluster_refuses_changes_nothing(self, prod: Plane) -> None:
        prod.clusters.failure = "it does not accept the proxy's credential (401)"
        with pytest.raises(UnavailableError, match="401"):
            prod.client().change("PATCH", PATH, account())
        assert b"token: old" in tokens(prod)
        assert prod.events("cluster.change")[-1]["outcome"].startswith("failed")

    def test_a_change_in_between_is_noticed(self, prod: Plane) -> None:
        client = prod.client()
        _, version = client.versioned(PATH)
        client.change("PATCH", PATH, account("one"), version=version)
        body = json.dumps(account("two")).encode()
        for method, sent in (("PATCH", body), ("DELETE", None)):
            status, _, problem = raw(prod, method, "/api/v1" + PATH, sent, If_Match=version)
            assert (status, "changed in between" in problem["detail"]) == (412, True)
        assert b"token: one" in tokens(prod)
        _, version = client.versioned(PATH)
        assert raw(prod, "DELETE", "/api/v1" + PATH, If_Match=version)[0] == 204

    @pytest.mark.parametrize("body", [{}, {"inCluster": True, "kubeconfig": "x"}])
    def test_it_is_one_account(self, prod: Plane, body: dict[str, Any]) -> None:
        with pytest.raises(InvalidInputError, match="either"):
            prod.client().change("PATCH", PATH, body)

    def test_who_manages_the_cluster_may_give_another_login(self, prod: Plane) -> None:
        owner = Client(prod.granted("dora", "cluster-admin", PROD))
        owner.change("PATCH", PATH, account("dora's"))
        prod.run(prod.services.store.people.add_project("shop", places=(Place("prod"),), by="x"))
        shop = Scope(ScopeKind.PROJECT, project="shop")
        Client(prod.granted("paul", "project-admin", shop)).change("PATCH", PATH, account("paul's"))
        assert b"token: paul's" in tokens(prod)

    @pytest.mark.parametrize(
        "other",
        [
            account(server="https://evil:6443"),
            account(server="https://cluster.example:6444"),
            account(insecure=True),
            account(ca_pem=b"CA"),
            {"inCluster": True},
        ],
    )
    def test_where_it_is_is_the_organizations_to_say(
        self, prod: Plane, other: dict[str, Any]
    ) -> None:
        owner = Client(prod.granted("dora", "cluster-admin", PROD))
        with pytest.raises(DeniedError, match=r"cluster\.manage at organization"):
            owner.change("PATCH", PATH, other)
        assert len(prod.clusters.kubeconfigs) == 1  # nobody connected there
        assert b"token: old" in tokens(prod)

    def test_the_name_it_is_verified_by_stays(self, prod: Plane) -> None:
        owner = Client(prod.granted("dora", "cluster-admin", PROD))
        owner.change("PATCH", PATH, account(server_name="evil"))
        assert b"evil" not in tokens(prod)

    def test_nobody_else_may(self, prod: Plane) -> None:
        prod.client().post("/clusters", {"name": "test"} | account())
        people = prod.services.store.people
        prod.run(people.add_project("web", places=(Place("prod", ("web",)),), by="x"))
        for user, role, scope, error in (
            ("bob", "cluster-admin", Scope(ScopeKind.CLUSTER, cluster="test"), NotFoundError),
            ("carol", "admin-read-only", ORGANIZATION, DeniedError),
            ("erin", "project-admin", Scope(ScopeKind.PROJECT, project="web"), DeniedError),
        ):
            with pytest.raises(error):
                Client(prod.granted(user, role, scope)).change("PATCH", PATH, account())
        assert b"token: old" in tokens(prod)

    def test_the_pods_own_cluster_is_the_organizations(self, plane: Plane) -> None:
        plane.client().post("/clusters", {"name": "prod", "inCluster": True})
        owner = Client(plane.granted("dora", "cluster-admin", PROD))
        with pytest.raises(DeniedError):
            owner.change("PATCH", PATH, account())
        assert plane.client().change("PATCH", PATH, account())["inCluster"] is False


def test_the_cluster_of_the_setting_keeps_the_pods_account(tmp_path: Path) -> None:
    with Plane(tmp_path / "data", in_cluster="prod") as plane:
        plane.client().post("/clusters", {"name": "prod", "inCluster": True})
        with pytest.raises(InvalidInputError, match="by the setting in_cluster"):
            plane.client().change("PATCH", PATH, account())
        assert plane.client().change("PATCH", PATH, {"inCluster": True})["inCluster"] is True
