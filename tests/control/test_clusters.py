"""Clusters over REST: what goes in, and that no secret comes out."""

import json

import pytest

from proxy.errors import ConflictError, InvalidInputError, NotFoundError
from tests.control.plane import Plane, Seen


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
