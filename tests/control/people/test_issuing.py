"""Who is issued what: the registry's groups, where grants reach, and nobody beyond one's scope."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.authz.roles import KUBERNETES
from proxy.cli.client import Client
from proxy.errors import ConflictError, DeniedError, InvalidInputError, NotFoundError
from proxy.pki.keys import csr, new_key
from proxy.state.access import ORGANIZATION, Scope, ScopeKind
from proxy.state.snapshot import Usage
from tests.control.organization import BANK, SHOP, found, granted
from tests.control.plane import Plane

KEY = csr(new_key(), "x").decode()


def issue(client: Client, user: str, **given: Any) -> dict[str, Any]:
    made: dict[str, Any] = client.post("/credentials", {"user": user, "csr": KEY} | given)
    return made


def test_a_registered_user_gets_what_the_registry_and_the_grants_say(plane: Plane) -> None:
    found(plane)
    issued = issue(plane.client(), "seller")
    assert (issued["groups"], issued["clusters"], issued["reachable"]) == (
        ["sellers"],
        ["*"],
        ["prod"],
    )
    assert issue(plane.client(), "seller", groups=["sellers"])["groups"] == ["sellers"]
    with pytest.raises(InvalidInputError, match="registered, in sellers"):
        issue(plane.client(), "seller", groups=["sellers", "tellers"])
    plane.client().change("PATCH", "/users/seller", {"disabled": True})
    with pytest.raises(ConflictError, match="disabled"):
        issue(plane.client(), "seller")


def test_who_is_granted_nothing_gets_nothing_by_default(plane: Plane) -> None:
    found(plane)
    plane.client().post("/users", {"name": "new"})
    assert issue(plane.client(), "new", clusters=["prod"])["reachable"] == []
    with pytest.raises(InvalidInputError, match="no grant of theirs"):
        issue(plane.client(), "new")
    assert issue(plane.client(), "stranger", clusters=["prod"])["reachable"] == ["prod"]


def test_a_narrower_scope_issues_for_its_own_people_and_clusters(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    boss = Client(plane.granted("boss", "project-admin", SHOP))
    issued = issue(boss, "seller")
    assert (issued["clusters"], issued["reachable"]) == (["prod"], ["prod"])
    for user, given in (
        ("banker", {}),
        ("stranger", {"clusters": ["prod"]}),
        ("seller", {"usage": "admin"}),
        ("seller", {"clusters": ["vault"]}),
        ("seller", {"clusters": ["*"]}),
        ("admin", {"clusters": ["prod"]}),
    ):
        with pytest.raises(DeniedError):
            issue(boss, user, **given)
    # Granted something elsewhere, they are no longer the project's alone.
    granted(client, "seller", "project-read-only", BANK)
    with pytest.raises(DeniedError):
        issue(boss, "seller")


def test_nobody_issues_what_is_worth_more_than_they_hold(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    client.post("/groups", {"name": "bosses"})
    granted(client, "bosses", "admin", ORGANIZATION, kind="group")
    client.post(
        "/roles",
        {"name": "desk", "scopes": ["organization"], "permissions": ["credential.manage"]},
    )
    desk = Client(plane.granted("desk", "desk"))
    for user, given in (
        ("banker", {}),
        ("seller", {}),
        ("stranger", {"groups": ["bosses"], "clusters": ["prod"]}),
        ("stranger", {"groups": ["bosses"], "usage": "admin"}),
    ):
        with pytest.raises(DeniedError, match=r"may not give away|not registered"):
            issue(desk, user, **given)
    # What is one's own gives nothing away.
    assert issue(desk, "desk", usage="admin")["usage"] == "admin"


def test_a_name_that_nobody_registered_is_worth_whatever_a_cluster_says(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    issuing = ["credential.manage", "user.manage"]
    much = [*issuing, *(item.value for item in KUBERNETES)]
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    secrets = everything | {"resources": ["secrets"]}
    for role in (
        {"name": "desk", "scopes": ["organization"], "permissions": issuing},
        {"name": "much", "scopes": ["organization"], "permissions": much, "rules": [everything]},
        {"name": "no-secrets", "scopes": ["cluster"], "denies": [secrets]},
    ):
        client.post("/roles", role)
    vault = plane.granted("denied", "admin")
    granted(client, "denied", "no-secrets", Scope(ScopeKind.CLUSTER, cluster="vault"))
    for issuer in (plane.granted("desk", "desk"), plane.granted("much", "much"), vault):
        for given in ({}, {"groups": ["dev"]}, {"groups": ["tellers"]}, {"usage": "renew"}):
            with pytest.raises(DeniedError, match="'mallory', who is not registered"):
                issue(Client(issuer), "mallory", **({"clusters": ["*"]} | given))
    chief = Client(plane.granted("chief", "admin"))
    assert issue(chief, "mallory", groups=["dev"], clusters=["*"])["groups"] == ["dev"]
    # With the organization's word on what they may do, there is nothing to give away.
    desk = Client(plane.credential("desk", Usage.ADMIN))
    desk.post("/users", {"name": "new"})
    assert issue(desk, "new", clusters=["prod"])["reachable"] == []


def test_a_token_issues_for_the_unregistered_what_it_is_for(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    plane.granted("chief", "admin")
    every = [item.value for item in KUBERNETES]
    for permissions, ok in (([], False), (every, True)):
        body = {"user": "chief", "permissions": ["credential.manage", *permissions]}
        token = client.post("/tokens", body | {"expiresAt": "1d"})["token"]
        by_token = Client(replace(plane.admin(), certificate="", key="", token=token))
        if ok:
            assert issue(by_token, "mallory", clusters=["prod"])["user"] == "mallory"
        else:
            with pytest.raises(DeniedError, match="not registered"):
                issue(by_token, "mallory", clusters=["prod"])


def test_who_sees_and_revokes_what(plane: Plane) -> None:
    ids = found(plane)
    client = plane.client()
    mine = issue(client, "seller")["serial"]
    boss = Client(plane.granted("boss", "project-admin", SHOP))
    seen = {item["user"] for item in boss.get("/credentials")["items"]}
    assert seen == {"seller", "boss"}
    with pytest.raises(NotFoundError):
        boss.post(f"/credentials/{ids['serial']}/revoke", {})
    with pytest.raises(DeniedError):
        boss.post("/credentials/revoke", {"user": "banker"})
    assert (
        boss.post(f"/credentials/{mine}/revoke", {"reason": "lost"})["items"][0]["serial"] == mine
    )
    own = Client(plane.credential("seller", Usage.ADMIN))
    assert {item["user"] for item in own.get("/credentials")["items"]} == {"seller"}
    another = issue(client, "seller")["serial"]
    assert own.post(f"/credentials/{another}/revoke", {})["items"][0]["status"] == "revoked"


def test_names_of_clusters_beyond_sight_are_left_out(plane: Plane) -> None:
    found(plane)
    issue(plane.client(), "seller", clusters=["prod", "vault"])
    boss = Client(plane.granted("boss", "project-admin", SHOP))
    [item] = boss.get("/credentials", {"user": "seller"})["items"]
    assert item["clusters"] == ["prod"]
