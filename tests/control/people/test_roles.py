"""Roles over REST: built-in ones are shown, custom ones made, and none grows beyond its maker."""

from typing import Any

import pytest

from proxy.authz.roles import BUILT_IN
from proxy.cli.client import Client
from proxy.errors import ConflictError, DeniedError, InvalidInputError
from proxy.state.access import ORGANIZATION
from tests.control.organization import granted
from tests.control.plane import Plane, raw

DEPLOYER = {
    "name": "deployer",
    "description": "rolls out",
    "scopes": ["cluster", "namespace"],
    "permissions": ["session.look", "kubernetes.exec"],
    "rules": [{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]}],
    "denies": [{"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"]}],
    "kubernetesGroups": ["deployers"],
}


def test_a_role_from_first_to_last(plane: Plane) -> None:
    client = plane.client()
    made = client.post("/roles", DEPLOYER)
    assert {key: made[key] for key in ("description", "scopes", "kubernetesGroups")} == {
        key: DEPLOYER[key] for key in ("description", "scopes", "kubernetesGroups")
    }
    assert made["permissions"] == ["kubernetes.exec", "session.look"]
    assert (made["rules"][0]["verbs"], made["builtIn"]) == (["get"], False)
    shown, version = client.versioned("/roles/deployer")
    assert shown == made
    body = {"scopes": ["cluster"], "reason": "less"}
    changed = client.change("PUT", "/roles/deployer", body, version=version)
    assert (changed["scopes"], changed["rules"]) == (["cluster"], [])
    assert raw(plane, "DELETE", "/api/v1/roles/deployer", If_Match=version)[0] == 412
    assert client.delete("/roles/deployer") is None
    assert plane.events("role.replace")[-1]["detail"]["before"]["scopes"] == DEPLOYER["scopes"]


def test_built_in_ones_come_first_and_stay(plane: Plane) -> None:
    client = plane.client()
    client.post("/roles", {"name": "aaa", "scopes": ["organization"]})
    listed = [item["name"] for item in client.pages("/roles", {"limit": 3})]
    assert listed == [*BUILT_IN, "aaa"]
    assert client.get("/roles/admin")["builtIn"] is True
    with pytest.raises((ConflictError, InvalidInputError), match="built in"):
        client.delete("/roles/admin")
    with pytest.raises((ConflictError, InvalidInputError), match="built in"):
        client.change("PUT", "/roles/admin", {"scopes": ["organization"]})
    with pytest.raises(InvalidInputError, match="renamed"):
        client.change("PUT", "/roles/aaa", {"name": "bbb", "scopes": ["organization"]})


@pytest.mark.parametrize(
    "given",
    [
        {"scopes": []},
        {"scopes": ["world"]},
        {"permissions": ["root"]},
        {"name": "Not A Name"},
        {"rules": [{"verbs": []}]},
        {"rules": [{"verbs": ["get"], "paths": ["/x"], "resources": ["pods"], "apiGroups": [""]}]},
        {"kubernetesGroups": ["system:masters"]},
        {"clusters": "full"},
    ],
    ids=str,
)
def test_what_is_no_role(shared: Plane, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        shared.client().post("/roles", {**DEPLOYER, **given})


def test_nobody_lets_a_role_grow_beyond_what_they_hold(plane: Plane) -> None:
    client = plane.client()
    client.post("/roles", {"name": "small", "scopes": ["organization"]})
    client.post(
        "/roles",
        {"name": "clerk", "scopes": ["organization"], "permissions": ["role.manage", "role.look"]},
    )
    clerk = Client(plane.granted("clerk", "clerk"))
    grown = {"scopes": ["organization"], "permissions": ["audit.export"]}
    # Granted to nobody it gives nothing; who grants it must hold it.
    assert clerk.change("PUT", "/roles/small", grown)["permissions"] == ["audit.export"]
    clerk.change("PUT", "/roles/small", {"scopes": ["organization"]})
    granted(client, "clerk", "small", ORGANIZATION)
    with pytest.raises(DeniedError, match=r"audit\.export"):
        clerk.change("PUT", "/roles/small", grown)
    with pytest.raises(DeniedError):
        clerk.change("PUT", "/roles/clerk", {"scopes": ["organization"], "permissions": ["role.manage", "audit.system"]})  # fmt: skip
    less = {"scopes": ["organization"], "permissions": ["role.manage"]}
    assert clerk.change("PUT", "/roles/clerk", less)["permissions"] == ["role.manage"]
