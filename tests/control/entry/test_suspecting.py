"""Uses of the control plane that are out of the ordinary: on record before anything is shown."""

import pytest

from proxy.authn.suspicion import Use
from proxy.authz.standing import Caller
from proxy.cli.client import Client
from proxy.control.entry.caller import Known
from proxy.control.entry.suspecting import name_of
from proxy.state.snapshot import Usage
from proxy.state.tokens import Token
from tests.control.plane import Plane


def seen_elsewhere(plane: Plane, user: str, serial: str) -> None:
    """The credential was used from another network a moment ago."""
    now = plane.clock.now()
    plane.services.suspicion.look(Use(user, serial, now, "198.51.100.7"))


@pytest.mark.parametrize("path", ["/clusters", "/audit/calls"])
def test_a_use_from_elsewhere_is_an_event_of_its_own(plane: Plane, path: str) -> None:
    server = plane.granted("ann", "admin")
    (serial,) = [
        item.serial
        for item in plane.services.watcher.current.credentials.values()
        if item.user == "ann"
    ]
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
