"""Uses of the control plane that are out of the ordinary: on record before anything is shown."""

import pytest

from proxy.authn.suspicion import Use
from proxy.authz.standing import Caller
from proxy.cli.client import Client
from proxy.control.entry.caller import Known
from proxy.control.entry.suspecting import name_of
from proxy.errors import DeniedError
from proxy.state.access import Scope, ScopeKind
from proxy.state.snapshot import Usage
from proxy.state.tokens import Token
from tests.control.plane import Plane, raw


def serial_of(plane: Plane, user: str) -> str:
    """Of the one credential that a user has."""
    credentials = plane.services.watcher.current.credentials.values()
    (serial,) = [item.serial for item in credentials if item.user == user]
    return serial


def seen_elsewhere(plane: Plane, user: str, serial: str) -> None:
    """The credential was used from another network a moment ago."""
    now = plane.clock.now()
    plane.services.suspicion.look(Use(user, serial, now, "198.51.100.7"))


@pytest.mark.parametrize("path", ["/clusters", "/audit/calls"])
def test_a_use_from_elsewhere_is_an_event_of_its_own(plane: Plane, path: str) -> None:
    server = plane.granted("ann", "admin")
    serial = serial_of(plane, "ann")
    seen_elsewhere(plane, "ann", serial)
    Client(server).get(path)
    (event,) = plane.events("credential.suspicious")
    assert event["detail"]["suspicious"] == "new-address,new-network,two-networks"
    assert event["detail"]["route"] == f"GET {path}"
    assert (event["actor"], event["target"], event["sourceIPs"]) == ("ann", serial, ["127.0.0.1"])
    if path == "/audit/calls":
        first = plane.events("audit.search")[0]
        assert first["auditID"] == event["auditID"], "one act"
        assert plane.journal.durable.index(event) < plane.journal.durable.index(first)
    Client(server).get(path)
    assert len(plane.events("credential.suspicious")) == 1, "told"


def test_what_is_ordinary_is_no_event(plane: Plane) -> None:
    client = Client(plane.credential("ann", Usage.ADMIN))
    for _ in range(3):
        client.get("/whoami")
    assert plane.events("credential.suspicious") == []
    assert "ann" in plane.services.suspicion.memory.users


def test_a_token_is_a_credential_of_its_own() -> None:
    token = Token("t1", "ci", "0" * 64, frozenset(), None, 5.0, "ann", 9.0)
    assert name_of(Known(Caller("ci", ()), token=token)) == ("token t1", 5.0)


def denials(plane: Plane) -> list[tuple[str, str]]:
    """Who and with what, of each burst of denials."""
    return [
        (event["actor"], event["target"])
        for event in plane.events("credential.suspicious")
        if "denial-burst" in event["detail"]["suspicious"]
    ]


@pytest.mark.parametrize("path", ["/users", "/roles"])
def test_denials_at_the_door_are_counted(plane: Plane, path: str) -> None:
    server = plane.credential("mallory", Usage.ADMIN)
    serial = serial_of(plane, "mallory")
    for _ in range(31):
        with pytest.raises(DeniedError):
            Client(server).get(path)
    assert denials(plane) == [("mallory", serial)]


def test_denials_in_the_act_are_counted_with_them(plane: Plane) -> None:
    """They may grant, and not this."""
    plane.client().post("/projects", {"name": "shop"})
    server = plane.granted("ann", "project-admin", Scope(ScopeKind.PROJECT, project="shop"))
    wanted = {
        "subject": {"kind": "user", "name": "ann"},
        "role": "admin",
        "scope": {"kind": "organization"},
    }
    for _ in range(30):
        with pytest.raises(DeniedError):
            Client(server).post("/grants", wanted)
    assert denials(plane) == [("ann", serial_of(plane, "ann"))]


def test_a_token_that_does_not_count_is_nobody_s_denial(plane: Plane) -> None:
    for _ in range(31):
        status, _, _ = raw(
            plane,
            "GET",
            "/api/v1/whoami",
            anonymous=True,
            Authorization=f"Bearer kwt_{'0' * 32}_{'a' * 43}",
        )
        assert status == 401
    assert denials(plane) == []
    assert not plane.services.suspicion._denials
