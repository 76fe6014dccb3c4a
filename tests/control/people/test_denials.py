"""Deny wins: not undone by those who are denied, and no means to shut out those who stand above."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy.cli.client import Client, Server
from proxy.errors import ConflictError, DeniedError, NotFoundError
from proxy.state.access import ORGANIZATION, Scope
from tests.control.organization import BANK, PROD, SHOP, WEB, found, granted
from tests.control.plane import Plane
from tests.control.sample_documents import document, send

DENIES = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["secrets"]}]
NO_SECRETS = {"scopes": ["organization", "project", "cluster", "namespace"], "denies": DENIES}
TAKEN = "may not take away what 'no-secrets' denies"
DENIED = "may not deny anything to"


@pytest.fixture
def client(plane: Plane) -> Client:
    found(plane)
    client = plane.client()
    client.post("/roles", {"name": "no-secrets", **NO_SECRETS})
    client.post("/groups", {"name": "contractors"})
    return client


@pytest.fixture
def paul(plane: Plane, client: Client) -> Client:
    """In charge of the shop, and denied its secrets."""
    server = plane.granted("paul", "project-admin", SHOP)
    granted(client, "paul", "no-secrets", SHOP)
    return Client(server)


def of(client: Client, who: str, role: str = "no-secrets", kind: str = "user") -> str:
    [grant] = client.get("/grants", {kind: who, "role": role})["items"]
    return f"/grants/{grant['id']}"


def test_who_is_denied_something_does_not_end_it(client: Client, paul: Client) -> None:
    with pytest.raises(DeniedError, match=f"'paul' {TAKEN} in project/shop"):
        paul.post(of(client, "paul") + "/revoke", {"reason": "I do not like it"})
    # Nor what is denied to somebody else, who could give it to them.
    granted(client, "seller", "no-secrets", WEB)
    with pytest.raises(DeniedError, match=TAKEN):
        paul.post(of(client, "seller") + "/revoke", {})
    assert client.post(of(client, "paul") + "/revoke", {})["status"] == "revoked"
    assert paul.post(of(client, "seller") + "/revoke", {})["status"] == "revoked"


def test_nor_by_a_document_that_leaves_it_out_or_lets_it_end(paul: Client) -> None:
    kept = document("Grant", user="paul", role="project-admin", project="shop")
    others = document("Grant", group="sellers", role="namespace-read-only", cluster="prod", namespace="web")  # fmt: skip
    with pytest.raises(DeniedError, match=TAKEN):
        send(paul, kept, others, prune=True)
    soon = document(
        "Grant", user="paul", role="no-secrets", project="shop", expiresAt="2098-01-01T00:00Z"
    )
    with pytest.raises(DeniedError, match=TAKEN):
        send(paul, soon)
    assert send(paul, document("Grant", user="paul", role="no-secrets", project="shop")) == []


def test_nor_by_leaving_the_group_that_it_stands_with(plane: Plane, client: Client) -> None:
    granted(client, "contractors", "no-secrets", SHOP, kind="group")
    client.post(
        "/roles",
        {
            "name": "hr",
            "scopes": ["organization"],
            "permissions": ["user.manage", "user.look", "grant.manage"],
        },
    )
    clerk = Client(plane.granted("clerk", "hr"))
    client.change("PATCH", "/users/seller", {"groups": ["sellers", "contractors"]})
    acts: tuple[Callable[[], Any], ...] = (
        lambda: clerk.change("PATCH", "/users/seller", {"groups": ["sellers"]}),
        lambda: clerk.change("PATCH", "/users/seller", {"groups": [], "disabled": True}),
        lambda: send(clerk, document("User", "seller", groups=["sellers"])),
    )
    for act in acts:
        with pytest.raises(DeniedError, match=TAKEN):
            act()
    # Another group may be left, and the description or a disabled user changes nothing of it.
    changed = clerk.change("PATCH", "/users/seller", {"groups": ["contractors"]})
    assert changed["groups"] == ["contractors"]
    # Who is denied it by the same group is no more able to let somebody out.
    chief = Client(plane.granted("chief", "admin"))
    client.change("PATCH", "/users/chief", {"groups": ["contractors"]})
    with pytest.raises(DeniedError, match=TAKEN):
        chief.change("PATCH", "/users/seller", {"groups": []})
    assert client.change("PATCH", "/users/seller", {"groups": []})["groups"] == []


def test_nor_by_taking_the_group_away(plane: Plane, client: Client) -> None:
    granted(client, "contractors", "no-secrets", SHOP, kind="group")
    chief = Client(plane.granted("chief", "admin"))
    chief.change("PATCH", "/users/chief", {"groups": ["contractors"]})
    with pytest.raises(DeniedError, match=TAKEN):
        chief.post(of(client, "contractors", kind="group") + "/revoke", {})
    with pytest.raises(ConflictError, match="contractors"):
        chief.delete("/groups/contractors")
    with pytest.raises(ConflictError, match="contractors"):
        send(chief, document("Group", "tellers"), document("Group", "sellers"), prune=True)
    assert "contractors" in [item["name"] for item in client.get("/groups")["items"]]


def test_nor_by_another_meaning_of_the_role(plane: Plane, client: Client) -> None:
    chief = Client(plane.granted("chief", "admin"))
    granted(client, "chief", "no-secrets", SHOP)
    less = [{"verbs": ["delete"], "apiGroups": ["*"], "resources": ["secrets"]}]
    for denies in ([], less):
        with pytest.raises(DeniedError, match=TAKEN):
            chief.change("PUT", "/roles/no-secrets", NO_SECRETS | {"denies": denies})
        with pytest.raises(DeniedError, match=TAKEN):
            send(chief, document("Role", "no-secrets", **(NO_SECRETS | {"denies": denies})))
    with pytest.raises(ConflictError, match="no-secrets"):
        chief.delete("/roles/no-secrets")
    more = chief.change("PUT", "/roles/no-secrets", NO_SECRETS | {"denies": [*DENIES, *less]})
    assert len(more["denies"]) == 2
    clerk_role = {"scopes": ["organization"], "permissions": ["role.manage"]}
    client.post("/roles", {"name": "clerk", **clerk_role})
    clerk = Client(plane.granted("clerk", "clerk"))
    with pytest.raises(DeniedError, match=TAKEN):
        clerk.change("PUT", "/roles/no-secrets", NO_SECRETS | {"denies": less})
    assert client.change("PUT", "/roles/no-secrets", NO_SECRETS)["denies"]


def test_nor_by_what_belongs_to_the_project(client: Client, paul: Client) -> None:
    granted(client, "paul", "cluster-admin", PROD)
    rest = [{"cluster": "test", "namespaces": ["web"]}]
    with pytest.raises(DeniedError, match=f"{TAKEN} in cluster/prod"):
        paul.change("PATCH", "/projects/shop", {"places": rest})
    with pytest.raises(DeniedError, match=TAKEN):
        send(paul, document("Project", "shop", places=rest))
    assert paul.change("PATCH", "/projects/shop", {"description": "sells"})["description"]
    assert client.change("PATCH", "/projects/shop", {"places": rest})["places"]


@pytest.mark.parametrize("scope", [PROD, WEB, SHOP], ids=["cluster", "namespace", "project"])
def test_nor_by_forgetting_the_cluster(plane: Plane, client: Client, scope: Scope) -> None:
    """Added again under its name it would be there without the denial."""
    clerk = Client(plane.granted("clerk", "admin"))
    granted(client, "clerk", "no-secrets", scope)
    with pytest.raises(DeniedError, match=f"'clerk' {TAKEN}"):
        clerk.delete("/clusters/prod")
    assert [item["name"] for item in client.get("/clusters")["items"]].count("prod") == 1
    client.post(of(client, "clerk") + "/revoke", {})
    clerk.delete("/clusters/prod")


def test_who_holds_it_and_is_not_denied_it_takes_it_away(plane: Plane, client: Client) -> None:
    boss = Client(plane.granted("boss", "project-admin", SHOP))
    made = granted(boss, "seller", "no-secrets", SHOP)
    assert boss.post(f"/grants/{made}/revoke", {})["status"] == "revoked"
    # Grants at the place, and the right to hand them out, are not enough.
    client.post(
        "/roles",
        {"name": "desk", "scopes": ["project"], "permissions": ["grant.manage", "grant.look"]},
    )
    desk = Client(plane.granted("desk", "desk", SHOP))
    made = granted(boss, "seller", "no-secrets", SHOP)
    with pytest.raises(DeniedError, match=TAKEN):
        desk.post(f"/grants/{made}/revoke", {})


def test_a_token_takes_away_no_more_than_it_is_for(plane: Plane, client: Client) -> None:
    plane.granted("chief", "admin")
    granted(client, "seller", "no-secrets", SHOP)
    path = of(client, "seller") + "/revoke"
    for permissions, ok in (
        (["grant.manage"], False),
        (["grant.manage", "kubernetes.secrets"], True),
    ):
        body = {"user": "chief", "permissions": [*permissions, "grant.look"], "expiresAt": "1d"}
        token = client.post("/tokens", body)["token"]
        by_token = Client(_with(plane, token))
        if ok:
            assert by_token.post(path, {})["status"] == "revoked"
        else:
            with pytest.raises(DeniedError, match=TAKEN):
                by_token.post(path, {})


def _with(plane: Plane, token: str) -> Server:
    return replace(plane.admin(), certificate="", key="", token=token)


def test_nobody_shuts_out_those_above_them(plane: Plane, client: Client) -> None:
    chief = Client(plane.granted("chief", "admin"))
    paul = Client(plane.granted("paul", "project-admin", SHOP))
    client.post("/groups", {"name": "chiefs"})
    granted(client, "chiefs", "admin", ORGANIZATION, kind="group")
    client.post("/users", {"name": "vice", "groups": ["chiefs", "sellers"]})
    granted(client, "teller", "project-read-only", SHOP)
    for who, kind in (
        ("chief", "user"),
        ("vice", "user"),  # by a group of theirs
        ("chiefs", "group"),
        ("sellers", "group"),  # by another group of a member
        ("teller", "user"),  # who is the bank's, too
    ):
        with pytest.raises(DeniedError, match=DENIED) as refused:
            granted(paul, who, "no-secrets", SHOP, kind=kind)
        assert "bank" not in str(refused.value)
        with pytest.raises(DeniedError, match=DENIED):
            send(paul, document("Grant", **{kind: who}, role="no-secrets", project="shop"))
    # The organization may, those whom the project alone knows may be, and a new one.
    assert granted(chief, "vice", "no-secrets", SHOP)
    client.post("/users", {"name": "new"})
    for who in ("new", "paul"):
        assert granted(paul, who, "no-secrets", SHOP)


def test_a_project_that_grows_denies_nothing_to_those_above(plane: Plane, client: Client) -> None:
    both = {"scopes": ["organization"], "permissions": ["project.manage", "cluster.look", "project.look"]}  # fmt: skip
    client.post("/roles", {"name": "mapper", **both})
    mapper = Client(plane.granted("mapper", "mapper"))
    granted(client, "mapper", "project-admin", SHOP)
    granted(client, "mapper", "project-admin", BANK)
    plane.granted("chief", "admin")
    denial = granted(client, "chief", "no-secrets", SHOP)
    more = {"places": [{"cluster": "prod"}, {"cluster": "test", "namespaces": ["web"]}, {"cluster": "vault"}]}  # fmt: skip
    for act in (
        lambda: mapper.change("PATCH", "/projects/shop", more),
        lambda: send(mapper, document("Project", "shop", **more)),
    ):
        with pytest.raises(DeniedError, match=f"{DENIED} 'chief'"):
            act()
    client.post(f"/grants/{denial}/revoke", {})
    assert len(mapper.change("PATCH", "/projects/shop", more)["places"]) == 3


def test_the_machines_administrator_can_always_end_it(plane: Plane, client: Client) -> None:
    chief = Client(plane.granted("chief", "admin"))
    granted(chief, "chief", "no-secrets", ORGANIZATION)
    with pytest.raises(DeniedError, match=TAKEN):
        chief.post(of(client, "chief") + "/revoke", {})
    with pytest.raises(NotFoundError, match="no user 'admin'"):
        granted(chief, "admin", "no-secrets", ORGANIZATION)
    assert client.post(of(client, "chief") + "/revoke", {})["status"] == "revoked"
    assert client.get("/grants", {"user": "chief"})["items"][0]["role"] == "admin"
