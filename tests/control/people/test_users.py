"""Users over REST: registered, changed, disabled, removed, never forgotten."""

from typing import Any
from urllib.parse import quote

import pytest

from proxy.cli.client import Client
from proxy.errors import ConflictError, DeniedError, InvalidInputError, NotFoundError
from tests.control.plane import Plane, raw


def test_a_user_from_first_to_last(plane: Plane) -> None:
    client = plane.client()
    client.post("/groups", {"name": "dev"})
    made = client.post(
        "/users", {"name": "rob", "groups": ["dev"], "displayName": "Rob Roy", "reason": "new here"}
    )
    assert made["createdBy"] == "admin"
    shown = {key: made[key] for key in ("kind", "displayName", "groups", "status")}
    assert shown == {"kind": "person", "displayName": "Rob Roy", "groups": ["dev"], "status": "active"}  # fmt: skip
    assert client.get("/users/rob") == made == client.get("/users")["items"][0]
    changed = client.change("PATCH", "/users/rob", {"groups": [], "displayName": ""})
    assert (changed["groups"], changed["displayName"]) == ([], "")
    off = client.change("PATCH", "/users/rob", {"disabled": True, "reason": "on leave"})
    assert (off["status"], off["disabledReason"]) == ("disabled", "on leave")
    assert client.change("PATCH", "/users/rob", {"disabled": False})["status"] == "active"
    event = plane.events("user.change")[-1]
    assert event["target"] == "rob"
    assert event["detail"]["before"]["status"] == "disabled"
    assert event["detail"]["after"]["status"] == "active"
    assert event["detail"]["via"] == "cli"


def test_removal_takes_everything_and_keeps_the_name(plane: Plane) -> None:
    client = plane.client()
    own = Client(plane.granted("rob", "admin"))
    assert own.get("/whoami")["user"] == "rob"
    gone = client.delete("/users/rob", {"reason": "left"})
    assert gone["user"]["status"] == "disabled"
    assert [item["revokedReason"] for item in gone["credentials"]] == ["left"]
    assert [item["status"] for item in gone["grants"]] == ["revoked"]
    with pytest.raises(DeniedError, match="revoked"):
        own.get("/whoami")
    with pytest.raises(ConflictError, match="already"):
        client.post("/users", {"name": "rob"})
    event = plane.events("user.remove")[-1]
    assert event["detail"]["reason"] == "left"
    assert len(event["detail"]["revokedCredentials"]) == 1


def test_a_disabled_user_is_refused_at_once(plane: Plane) -> None:
    own = Client(plane.granted("rob", "auditor"))
    plane.client().change("PATCH", "/users/rob", {"disabled": True})
    with pytest.raises(DeniedError, match="disabled"):
        own.get("/whoami")


def test_only_what_was_seen_is_changed(plane: Plane) -> None:
    client = plane.client()
    client.post("/users", {"name": "rob"})
    _, seen = client.versioned("/users/rob")
    client.change("PATCH", "/users/rob", {"displayName": "one"}, version=seen)
    for method, body in (("PATCH", b'{"displayName": "two"}'), ("DELETE", None)):
        status, _, problem = raw(plane, method, "/api/v1/users/rob", body, If_Match=seen)
        assert (status, problem["type"]) == (412, "urn:kubewitness:precondition-failed")
    for given in (f'"0", {client.versioned("/users/rob")[1]}', "*"):
        status, headers, _ = raw(
            plane, "PATCH", "/api/v1/users/rob", b'{"displayName": "two"}', If_Match=given
        )
        assert (status, headers["ETag"]) == (200, client.versioned("/users/rob")[1])
    for given in ("x", "W/" + client.versioned("/users/rob")[1], '""'):
        assert raw(plane, "DELETE", "/api/v1/users/rob", If_Match=given)[0] == 412


@pytest.mark.parametrize("name", ["rob@example.com", "team/rob", "rob roy", "löwe", "a%2Fb", "50%"])
def test_names_of_all_kinds_have_a_path(plane: Plane, name: str) -> None:
    client = plane.client()
    client.post("/users", {"name": name})
    assert client.get(f"/users/{quote(name, safe='')}")["name"] == name


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"name": "admin"}, InvalidInputError, "machine's own administrator"),
        ({"name": "system:admin"}, InvalidInputError, "system:"),
        ({"name": " rob"}, InvalidInputError, "blank"),
        ({"name": "a\0b"}, InvalidInputError, "name"),
        ({"name": "."}, InvalidInputError, "path"),
        ({"name": "rob", "groups": ["none"]}, NotFoundError, "none"),
        ({"name": "rob", "kind": "robot"}, InvalidInputError, "kind"),
        ({"name": "rob", "displayName": "x" * 513}, InvalidInputError, "displayName"),
    ],
    ids=str,
)
def test_who_cannot_be_registered(
    shared: Plane, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        shared.client().post("/users", given)
    assert shared.client().get("/users")["items"] == []
