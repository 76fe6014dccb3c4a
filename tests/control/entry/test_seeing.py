"""What of the organization is seen from a part of it; route by route in `test_narrowing`."""

from proxy.cli.client import Client
from proxy.state.snapshot import Usage
from tests.control.organization import PROD, SHOP, WEB, found, granted
from tests.control.plane import Plane


def names(client: Client, noun: str) -> set[str]:
    return {item["name"] for item in client.get(f"/{noun}")["items"]}


def test_people_are_seen_where_they_are_granted_something(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    boss = Client(plane.granted("boss", "project-admin", SHOP))
    assert names(boss, "users") == {"boss", "seller"}
    assert names(boss, "groups") == {"sellers"}
    # In the group that has a namespace of the project, and in another one.
    client.change("PATCH", "/users/seller", {"groups": ["sellers", "tellers"]})
    assert boss.get("/users/seller")["groups"] == ["sellers"]
    granted(client, "teller", "namespace-read-only", WEB)
    assert names(boss, "users") == {"boss", "seller", "teller"}
    assert boss.get("/users/teller")["groups"] == []


def test_clusters_are_seen_whole_or_in_part(plane: Plane) -> None:
    found(plane)
    assert names(Client(plane.granted("boss", "project-read-only", SHOP)), "clusters") == {
        "prod",
        "test",
    }
    assert names(Client(plane.granted("chief", "cluster-admin", PROD)), "clusters") == {"prod"}


def test_one_sees_oneself_without_any_grant(plane: Plane) -> None:
    found(plane)
    own = Client(plane.credential("seller", Usage.ADMIN))
    assert [item["subject"]["name"] for item in own.get("/grants")["items"]] == ["sellers"]
    assert {item["user"] for item in own.get("/credentials")["items"]} == {"seller"}
    assert own.get("/tokens")["items"] == []
