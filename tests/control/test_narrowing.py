"""Each route, for each role, in a scope that does not contain what is asked for: no, and no names."""

import json
from typing import Any

import pytest

from proxy.authz.roles import BUILT_IN
from proxy.cli.client import Client
from proxy.control.entry.permissions import OWN, REQUIRED
from proxy.control.routes import ROUTES
from proxy.pki.keys import csr, new_key
from proxy.state.access import ORGANIZATION, Scope, ScopeKind
from tests.control.organization import FOREIGN, PROD, SHOP, WEB, found
from tests.control.plane import Plane, raw

_PLACES = {
    ScopeKind.PROJECT: SHOP,
    ScopeKind.CLUSTER: PROD,
    ScopeKind.NAMESPACE: WEB,
}
OUTSIDERS = [
    (role.name, _PLACES[kind])
    for role in BUILT_IN.values()
    for kind in role.scopes
    if kind is not ScopeKind.ORGANIZATION
]
"""Every built-in role, wherever it can be granted, at the shop's side."""
OPEN = {
    "getVersion", "whoAmI", "getOpenAPI", "listRoles", "getRole", "searchCalls", "countCalls",
    "whoTouched", "tailCalls", "exportCalls", "listSuspicious",
}  # fmt: skip
"""What is the same for everybody, and looks at the log, which have their own tests."""
EMPTY = {
    "listClusters", "listUsers", "listGroups", "listProjects", "listGrants", "listTokens",
    "listCredentials", "listSessions",
}  # fmt: skip
"""Lists, that anybody may ask for and that show what is in scope."""


@pytest.fixture(scope="module")
def world(shared: Plane) -> tuple[Plane, dict[str, str]]:
    return shared, found(shared)


def bodies() -> dict[str, dict[str, Any]]:
    """For each route with a body, one that asks for something of the bank's."""
    scope = {"kind": "project", "project": "bank"}
    subject = {"kind": "user", "name": "banker"}
    signing = csr(new_key(), "banker").decode()
    return {
        "addCluster": {"name": "more", "inCluster": True},
        "changeCluster": {"inCluster": True},
        "setReconciler": {"kubeconfig": "x"},
        "addUser": {"name": "mallory"},
        "changeUser": {"disabled": True},
        "addGroup": {"name": "more"},
        "changeGroup": {"description": "x"},
        "addProject": {"name": "more", "places": [{"cluster": "vault"}]},
        "changeProject": {"description": "x"},
        "addRole": {"name": "more", "scopes": ["project"]},
        "replaceRole": {"scopes": ["project"]},
        "addGrant": {"subject": subject, "role": "project-read-only", "scope": scope},
        "revokeGrant": {},
        "explainAccess": {"user": "banker", "cluster": "vault", "verb": "get", "resource": "pods"},
        "apply": {
            "objects": [
                {
                    "apiVersion": "kubewitness.io/v1",
                    "kind": "Grant",
                    "spec": {"user": "banker", "role": "project-read-only", "project": "bank"},
                }
            ]
        },
        "issueCredential": {"user": "banker", "csr": signing},
        "renewCredential": {"csr": signing},
        "revokeUser": {"user": "banker"},
        "revokeCredential": {},
        "addToken": {"user": "banker", "permissions": ["audit.look"], "expiresAt": "1d"},
        "revokeToken": {},
        "proposeRetention": {"olderThanDays": 400, "reason": "x"},
        "beginRetention": {"partitions": ["events_p20260101"], "archive": "/x"},
        "endRetention": {"partitions": ["events_p20260101"], "records": 1},
        "placeHold": {"reason": "x"},
        "releaseLegalHold": {"reason": "x"},
        "placeLegalHold": {"reason": "x"},
    }


def path_of(operation: str, path: str, ids: dict[str, str]) -> str:
    noun = path.split("/")[1]
    name = {
        "clusters": "vault", "users": "banker", "groups": "tellers", "projects": "bank",
        "roles": "auditor", "grants": ids["grant"], "tokens": ids["token"],
        "credentials": ids["serial"],
    }.get(noun, "none")  # fmt: skip
    return "/api/v1" + path.replace("{name}", name).replace("{id}", name).replace("{serial}", name)


@pytest.mark.parametrize(("role", "scope"), OUTSIDERS, ids=str)
def test_no_route_reaches_or_names_what_is_outside(
    world: tuple[Plane, dict[str, str]], role: str, scope: Scope
) -> None:
    plane, ids = world
    who = f"{role}-{scope.kind}"
    server = plane.granted(who, role, scope)
    asked = bodies()
    before = plane.services.watcher.current.access
    known = {name for name in FOREIGN if name != "safe"}
    for route in ROUTES:
        if route.operation in OPEN:
            continue
        body = None
        if route.body is not None:
            body = json.dumps(asked[route.operation]).encode()
        path = path_of(route.operation, route.path, ids)
        status, _, answer = raw(plane, route.method, path, body, server=server)
        where = f"{role} at {scope}: {route.method} {path} → {status} {answer}"
        if route.operation in EMPTY:
            assert status == 200 if _may_list(role, route) else status == 403, where
            text = json.dumps(answer)
            assert not [name for name in known if f'"{name}"' in text], where
        else:
            assert status in (400, 403, 404), where
            if status == 400:
                # Refused before anything is looked at, and the same for what does not exist.
                assert route.operation == "replaceRole", where
    after = plane.services.watcher.current.access
    assert after == before, "nothing was changed"


def _may_list(role: str, route: Any) -> bool:
    key = route.method, route.full_path
    return key in OWN or REQUIRED[key] in BUILT_IN[role].permissions


@pytest.mark.parametrize("noun", ["users", "groups", "projects", "grants", "tokens"])
def test_what_is_outside_and_what_does_not_exist_answer_alike(
    world: tuple[Plane, dict[str, str]], noun: str
) -> None:
    plane, ids = world
    server = plane.granted(f"curious-{noun}", "project-admin", SHOP)
    there = {"users": "banker", "groups": "tellers", "projects": "bank"}.get(noun)
    name = there or ids[noun.removesuffix("s")]
    path, method = f"/api/v1/{noun}", "GET"
    suffix, body = ("/revoke", b"{}") if noun == "tokens" else ("", None)
    method = "POST" if noun == "tokens" else "GET"
    answers = []
    for asked in (name, "nobody"):
        status, _, answer = raw(plane, method, f"{path}/{asked}{suffix}", body, server=server)
        answer.pop("instance", None)
        answers.append((status, json.dumps(answer).replace(asked, "NAME")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


def test_insiders_see_their_own_side(world: tuple[Plane, dict[str, str]]) -> None:
    plane, _ = world
    client = Client(plane.granted("boss", "project-admin", SHOP))
    assert [item["name"] for item in client.get("/clusters")["items"]] == ["prod", "test"]
    assert [item["name"] for item in client.get("/projects")["items"]] == ["shop"]
    assert "sellers" in [item["name"] for item in client.get("/groups")["items"]]
    names = [item["name"] for item in client.get("/users")["items"]]
    assert {"boss", "seller"} <= set(names)
    scopes = {str(item["scope"]) for item in client.get("/grants")["items"]}
    assert not [scope for scope in scopes if "bank" in scope or "vault" in scope]


def test_the_organization_sees_both(world: tuple[Plane, dict[str, str]]) -> None:
    plane, ids = world
    client = Client(plane.granted("chief", "admin-read-only", ORGANIZATION))
    assert {"bank", "shop"} == {item["name"] for item in client.get("/projects")["items"]}
    assert ids["grant"] in {item["id"] for item in client.get("/grants")["items"]}
    assert ids["token"] in {item["id"] for item in client.get("/tokens")["items"]}
    assert ids["serial"] in {item["serial"] for item in client.get("/credentials")["items"]}
