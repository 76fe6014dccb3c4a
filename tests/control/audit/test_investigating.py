"""One page about a user: whole for an administrator, no more than their part for others."""

from typing import Any

import pytest

from proxy.audit.event import CLAIMED_USER, ObjectRef, User
from proxy.audit.flags import SUSPICIOUS
from proxy.cli.client import Client
from proxy.control.audit.investigating import commands
from proxy.errors import DeniedError, NotFoundError
from proxy.state.access import Scope, ScopeKind, UserKind
from proxy.state.access import User as Registered
from proxy.state.sightings import Sighting
from proxy.state.snapshot import Usage
from tests.control.plane import Plane

PROD = Scope(ScopeKind.CLUSTER, cluster="prod")
EXEC = ObjectRef("pods", "shop", "web-0", "", "v1", "exec")


def told(plane: Plane, name: str = "alice", **query: Any) -> dict[str, Any]:
    found: dict[str, Any] = plane.client().get(f"/users/{name}/investigation", query)
    return found


def busy(plane: Plane) -> str:
    """A day of alice's; the serial of her credential."""
    plane.granted("alice", "cluster-admin", PROD)
    (serial,) = [
        item.serial
        for item in plane.services.watcher.current.credentials.values()
        if item.user == "alice"
    ]
    plane.call(credential=serial)
    plane.call(
        credential=serial, verb="list", object_ref=ObjectRef("secrets", "shop", "", "", "v1")
    )
    plane.call(credential=serial, object_ref=EXEC, verb="create", call_class="privileged", code=101)
    plane.call(
        code=403, credential=serial, cluster="stage", kubectl_session="other",
        annotations={SUSPICIOUS: "new-address,new-network"}, source_ips=("192.0.2.9",),
    )  # fmt: skip
    plane.call(user=User("bob"))
    plane.run(
        plane.services.store.sightings.add(
            [
                Sighting("alice", "", "10.0.0.1", 100.0, 200.0, 3),
                Sighting("alice", serial, "10.0.0.1", 100.0, 200.0, 3),
                Sighting("alice", "", "192.0.2.9", 300.0, 300.0, 1),
                Sighting("bob", "", "10.0.0.1", 100.0, 100.0, 1),
            ]
        )
    )
    return serial


def test_an_administrator_sees_all_of_it(plane: Plane) -> None:
    serial = busy(plane)
    found = told(plane)
    assert (found["user"], found["status"], found["kind"]) == ("alice", "active", "person")
    assert (found["calls"], found["failed"], found["lookedAt"], found["complete"]) == (
        4,
        1,
        4,
        True,
    )
    assert [item["serial"] for item in found["credentials"]] == [serial]
    assert [(item["address"], item["network"], item["calls"]) for item in found["addresses"]] == [
        ("192.0.2.9", "192.0.2.0/24", 1),
        ("10.0.0.1", "10.0.0.0/24", 3),
    ]
    assert found["addresses"][1]["credentials"] == [serial]
    assert [item["flags"] for item in found["flagged"]] == [["new-address", "new-network"]]
    assert [(item["cluster"], item["status"]) for item in found["denied"]] == [("stage", 403)]
    assert [(item["resource"], item["status"]) for item in found["sessions"]] == [
        ("pods/exec", 101)
    ]
    assert {item["session"]: item["calls"] for item in found["commands"]} == {"other": 1, "5f0c": 3}
    assert {(item["cluster"], item["resource"], item["name"]) for item in found["objects"]} == {
        ("stage", "pods", "web-0"),
        ("prod", "pods/exec", "web-0"),
        ("prod", "secrets", ""),
        ("prod", "pods", "web-0"),
    }
    assert [(item["subject"], item["role"], item["scope"]) for item in found["grants"]] == [
        ("user alice", "cluster-admin", "cluster/prod")
    ]
    assert found["revoke"][0] == 'kubewitness kubeconfig revoke --user alice --yes --reason "…"'


def test_an_address_of_a_moment_ago_is_among_them(plane: Plane) -> None:
    busy(plane)
    plane.call(source_ips=("198.51.100.1",), credential="a9")
    first = told(plane)["addresses"][0]
    assert (first["address"], first["calls"], first["credentials"]) == ("198.51.100.1", 1, ["a9"])


def test_it_is_on_record_before_it_is_shown(plane: Plane) -> None:
    busy(plane)
    told(plane, since="2d")
    asked, done = plane.events("user.investigate")
    assert (asked["outcome"], asked["target"], asked["detail"]["since"]) == (
        "requested",
        "alice",
        "2d",
    )
    assert done.get("outcome", "ok") == "ok"


def test_what_was_before_is_left_out(plane: Plane) -> None:
    busy(plane)
    found = told(plane, since="2099-01-01T00:00:00Z")
    assert (found["calls"], found["commands"], found["objects"]) == (0, [], [])
    assert len(found["addresses"]) == 2, "of all time"


def test_somebody_who_is_not_registered(plane: Plane) -> None:
    plane.credential("eve")
    plane.call(user=User("eve"))
    found = told(plane, "eve")
    assert (found["status"], found["kind"], found["groups"]) == ("unregistered", "", ["dev"])
    assert (found["calls"], len(found["credentials"]), len(found["revoke"])) == (1, 1, 1)
    nothing = told(plane, "nobody")
    assert (nothing["calls"], nothing["credentials"], nothing["addresses"]) == (0, [], [])


def test_knocking_with_a_revoked_credential_is_among_what_was_denied(plane: Plane) -> None:
    serial = busy(plane)
    plane.run(plane.services.store.revoke(serial=serial, reason="stolen"))
    plane.call(
        code=401,
        user=User(""),
        credential=serial,
        annotations={CLAIMED_USER: "alice"},
        object_ref=None,
    )
    found = told(plane)
    assert [item["status"] for item in found["denied"]] == [401, 403]
    assert found["credentials"][0]["status"] == "revoked"


def test_whoever_looks_at_one_cluster_sees_what_happened_there(plane: Plane) -> None:
    busy(plane)
    plane.run(plane.services.store.add_cluster("stage", server="https://s", kubeconfig=b""))
    stage = Scope(ScopeKind.CLUSTER, cluster="stage")
    plane.granted(
        "alice", "namespace-admin", Scope(ScopeKind.NAMESPACE, cluster="stage", namespace="x")
    )
    project = {"name": "stage", "places": [{"cluster": "stage", "namespaces": []}]}
    plane.client().post("/projects", project)
    plane.granted("ann", "project-read-only", Scope(ScopeKind.PROJECT, project="stage"))
    ann = Client(plane.granted("ann", "cluster-admin", stage))
    found = ann.get("/users/alice/investigation")
    assert (found["calls"], found["failed"]) == (1, 1)
    assert {item["cluster"] for item in found["objects"]} == {"stage"}
    assert [item["address"] for item in found["addresses"]] == ["192.0.2.9"]
    assert found["credentials"] == []
    assert [item["scope"] for item in found["grants"]] == ["namespace/stage/x"]
    assert "prod" not in str(found)


def test_an_auditor_investigates_wherever_they_look(plane: Plane) -> None:
    serial = busy(plane)
    ada = Client(plane.granted("ada", "auditor"))
    found = ada.get("/users/alice/investigation")
    assert (found["calls"], [item["serial"] for item in found["credentials"]]) == (4, [serial])
    assert [item["role"] for item in found["grants"]] == ["cluster-admin"]
    assert ada.get("/users/nobody/investigation")["status"] == "unregistered"
    # To look is all: what the page says to do is somebody else's.
    for path, body in (("/credentials/revoke", {"user": "alice"}), ("/users", {"name": "eve"})):
        with pytest.raises(DeniedError):
            ada.post(path, body)


def test_an_auditor_of_a_project_investigates_its_people_there(plane: Plane) -> None:
    serial = busy(plane)
    plane.run(plane.services.store.add_cluster("stage", server="https://s", kubeconfig=b""))
    client = plane.client()
    client.post("/projects", {"name": "shop", "places": [{"cluster": "prod", "namespaces": []}]})
    client.post("/projects", {"name": "bank", "places": [{"cluster": "stage", "namespaces": []}]})
    ada = Client(plane.granted("ada", "auditor", Scope(ScopeKind.PROJECT, project="shop")))
    found = ada.get("/users/alice/investigation")
    assert (found["calls"], {item["cluster"] for item in found["objects"]}) == (3, {"prod"})
    assert [item["serial"] for item in found["credentials"]] == [serial]
    bob = Client(plane.granted("bob", "auditor", Scope(ScopeKind.PROJECT, project="bank")))
    for name in ("alice", "nobody"):
        with pytest.raises(NotFoundError, match=f"There is no user '{name}'"):
            bob.get(f"/users/{name}/investigation")


def test_who_may_not_look_does_not_learn_who_there_is(plane: Plane) -> None:
    busy(plane)
    with pytest.raises(DeniedError):
        Client(plane.credential("eve", Usage.ADMIN)).get("/users/alice/investigation")
    plane.run(plane.services.store.add_cluster("stage", server="https://s", kubeconfig=b""))
    plane.client().post(
        "/projects", {"name": "s", "places": [{"cluster": "stage", "namespaces": []}]}
    )
    ann = Client(plane.granted("ann", "project-read-only", Scope(ScopeKind.PROJECT, project="s")))
    for name in ("alice", "nobody"):
        with pytest.raises(NotFoundError, match=f"There is no user '{name}'"):
            ann.get(f"/users/{name}/investigation")


def test_the_commands_are_safe_to_paste() -> None:
    hostile = "x'; rm -rf / #"
    (revoke,) = commands(hostile, None)
    assert "--user 'x'\"'\"'; rm -rf / #' --yes" in revoke
    known = Registered("rob", UserKind.PERSON, (), 0.0, "ann")
    assert [line.split()[1:3] for line in commands("rob", known)] == [
        ["kubeconfig", "revoke"],
        ["user", "disable"],
    ]
