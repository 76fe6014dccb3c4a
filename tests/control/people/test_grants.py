"""Grants over REST: given, listed, ended, and never more than one holds."""

from typing import Any

import pytest

from proxy.cli.client import Client
from proxy.errors import ConflictError, DeniedError, InvalidInputError, NotFoundError
from proxy.state.access import ORGANIZATION, Scope
from tests.control.organization import BANK, PROD, SAFE, SHOP, VAULT, WEB, found, granted
from tests.control.plane import Plane, raw


def test_a_grant_from_first_to_last(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    made = client.post(
        "/grants",
        {
            "subject": {"kind": "user", "name": "seller"},
            "role": "namespace-admin",
            "scope": {"kind": "namespace", "cluster": "prod", "namespace": "web"},
            "expiresAt": "30d",
            "reason": "feature 41",
        },
    )
    assert made["scope"] == {"kind": "namespace", "cluster": "prod", "namespace": "web"}
    assert (made["status"], made["reason"], made["createdBy"]) == ("active", "feature 41", "admin")
    assert client.versioned(f"/grants/{made['id']}")[0] == made
    assert client.get("/grants", {"user": "seller"})["items"] == [made]
    ended = client.post(f"/grants/{made['id']}/revoke", {"reason": "done"})
    assert (ended["status"], ended["revokedReason"]) == ("revoked", "done")
    assert client.get("/grants", {"user": "seller"})["items"] == []
    assert client.get("/grants", {"user": "seller", "all": True})["items"] == [ended]
    assert client.get(f"/grants/{made['id']}") == ended
    with pytest.raises(ConflictError, match="already"):
        client.post(f"/grants/{made['id']}/revoke", {})
    event = plane.events("grant.add")[-1]
    assert event["target"] == "user seller"
    assert event["detail"]["after"]["id"] == made["id"]


def test_lists_come_in_pages_and_by_what_is_asked(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    every = client.get("/grants")["items"]
    assert list(client.pages("/grants", {"limit": 1})) == every
    assert len(every) == 3
    for query, count in (
        ({"project": "bank"}, 1), ({"cluster": "vault"}, 1), ({"role": "project-admin"}, 1),
        ({"group": "sellers"}, 1), ({"user": "nobody"}, 0),
    ):  # fmt: skip
        assert len(client.get("/grants", query)["items"]) == count, query


def test_the_machines_own_administrator_keeps_theirs(plane: Plane) -> None:
    client = plane.client()
    assert client.get("/grants/local-admin")["role"] == "admin"
    with pytest.raises(DeniedError, match="cannot lose this"):
        client.post("/grants/local-admin/revoke", {})


@pytest.mark.parametrize(
    ("role", "scope", "gives", "at"),
    [
        ("project-admin", SHOP, "project-admin", BANK),
        ("project-admin", SHOP, "admin", ORGANIZATION),
        ("project-admin", SHOP, "cluster-admin", VAULT),
        ("project-admin", SHOP, "namespace-admin", SAFE),
        ("project-read-only", SHOP, "project-read-only", SHOP),
        ("cluster-admin", PROD, "cluster-admin", PROD),
        ("admin-read-only", ORGANIZATION, "namespace-read-only", WEB),
    ],
    ids=str,
)
def test_nobody_grants_what_they_do_not_hold(
    plane: Plane, role: str, scope: Scope, gives: str, at: Scope
) -> None:
    found(plane)
    client = Client(plane.granted("boss", role, scope))
    with pytest.raises(DeniedError):
        granted(client, "seller", gives, at)


def test_a_project_is_administered_from_within(plane: Plane) -> None:
    found(plane)
    boss = Client(plane.granted("boss", "project-admin", SHOP))
    for role, scope in (("project-read-only", SHOP), ("cluster-admin", PROD), ("namespace-admin", WEB)):  # fmt: skip
        identity = granted(boss, "seller", role, scope)
        assert boss.post(f"/grants/{identity}/revoke", {})["status"] == "revoked"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"role": "none"}, NotFoundError),
        ({"role": "admin"}, InvalidInputError),
        ({"subject": {"kind": "user", "name": "nobody"}}, NotFoundError),
        ({"subject": {"kind": "group", "name": "nobody"}}, NotFoundError),
        ({"scope": {"kind": "cluster"}}, InvalidInputError),
        ({"scope": {"kind": "cluster", "cluster": "none"}}, NotFoundError),
        ({"scope": {"kind": "cluster", "cluster": "prod", "project": "shop"}}, InvalidInputError),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, InvalidInputError),
        ({"expiresAt": "whenever"}, InvalidInputError),
    ],
    ids=str,
)
def test_what_is_no_grant(plane: Plane, given: dict[str, Any], error: type[Exception]) -> None:
    client = plane.client()
    client.post("/clusters", {"name": "prod", "inCluster": True})
    client.post("/users", {"name": "rob"})
    body = {
        "subject": {"kind": "user", "name": "rob"},
        "role": "cluster-admin",
        "scope": {"kind": "cluster", "cluster": "prod"},
    }
    with pytest.raises(error):
        client.post("/grants", {**body, **given})
    assert client.get("/grants")["items"] == []


def test_only_a_grant_that_was_seen_as_it_is_ends(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    path = f"/grants/{granted(client, 'seller', 'project-read-only', SHOP)}"
    _, seen = client.versioned(path)
    full = f"/api/v1{path}/revoke"
    for given in ('"1"', "x", "W/" + seen):
        status, _, problem = raw(plane, "POST", full, b"{}", If_Match=given)
        assert (status, problem["type"]) == (412, "urn:kubewitness:precondition-failed")
    assert client.get(path)["status"] == "active"
    status, headers, _ = raw(plane, "POST", full, b"{}", If_Match=f'"0", {seen}')
    assert (status, headers["ETag"]) == (200, client.versioned(path)[1])
    assert client.get(path)["status"] == "revoked"


def test_an_ended_grant_counts_no_more_at_the_next_request(plane: Plane) -> None:
    own = Client(plane.granted("rob", "auditor"))
    assert len(own.get("/clusters")["items"]) == 1
    [grant] = own.get("/grants")["items"]
    plane.client().post(f"/grants/{grant['id']}/revoke", {})
    with pytest.raises(DeniedError, match=r"cluster\.look"):
        own.get("/clusters")
    # One's own are everybody's to see.
    assert own.get("/grants")["items"] == []
    assert own.get(f"/grants/{grant['id']}")["status"] == "revoked"
