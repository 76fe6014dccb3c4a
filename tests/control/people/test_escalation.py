"""Nobody hands out more than they hold: not by a membership, and not in a name."""

from collections.abc import Callable

import pytest

from proxy.cli.client import Client
from proxy.errors import DeniedError
from proxy.pki.keys import csr, new_key
from proxy.state.access import ORGANIZATION
from proxy.state.snapshot import Usage
from tests.control.organization import granted
from tests.control.plane import Plane


def test_nobody_puts_themselves_in_a_group_that_holds_more(plane: Plane) -> None:
    client = plane.client()
    client.post("/groups", {"name": "bosses"})
    granted(client, "bosses", "admin", ORGANIZATION, kind="group")
    client.post(
        "/roles",
        {"name": "hr", "scopes": ["organization"], "permissions": ["user.manage", "user.look"]},
    )
    clerk = Client(plane.granted("clerk", "hr"))
    clerk.post("/users", {"name": "rob"})
    acts: tuple[Callable[[], object], ...] = (
        lambda: clerk.change("PATCH", "/users/clerk", {"groups": ["bosses"]}),
        lambda: clerk.change("PATCH", "/users/rob", {"groups": ["bosses"]}),
        lambda: clerk.post("/users", {"name": "eve", "groups": ["bosses"]}),
    )
    for act in acts:
        with pytest.raises(DeniedError, match="may not give away"):
            act()
    client.change("PATCH", "/users/rob", {"groups": ["bosses"]})
    # Taking somebody out gives nothing away.
    assert clerk.change("PATCH", "/users/rob", {"groups": []})["groups"] == []


def test_the_name_of_the_machines_administrator_is_for_administrators(plane: Plane) -> None:
    client = plane.client()
    client.post(
        "/roles",
        {"name": "desk", "scopes": ["organization"], "permissions": ["credential.manage"]},
    )
    desk = Client(plane.granted("desk", "desk"))
    body = {"user": "admin", "usage": "admin", "csr": csr(new_key(), "admin").decode()}
    with pytest.raises(DeniedError):
        desk.post("/credentials", body)
    issued = client.post("/credentials", body)
    known = plane.services.watcher.current.credentials[issued["serial"]]
    assert known.usage is Usage.ADMIN
    assert known.issued_by != "kubewitness"
