"""Streams into pods, listed from the log."""

from proxy.audit.event import ObjectRef, User
from proxy.cli.client import Client
from proxy.state.access import Scope, ScopeKind
from tests.control.organization import found
from tests.control.plane import Plane

PROD = Scope(ScopeKind.CLUSTER, cluster="prod")


def stream(plane: Plane, subresource: str, code: int | None = 101, user: str = "alice") -> str:
    return plane.call(
        code,
        verb="create",
        call_class="privileged",
        user=User(user),
        object_ref=ObjectRef("pods", "shop", "web-0", "", "v1", subresource),
    )


def test_exec_attach_and_port_forward_are_sessions_and_nothing_else(plane: Plane) -> None:
    plane.call()
    ids = [stream(plane, name) for name in ("exec", "attach", "portforward", "log")][:3]
    listed = plane.client().get("/sessions")["items"]
    assert [(item["id"], item["kind"]) for item in listed] == [
        (ids[2], "port-forward"), (ids[1], "attach"), (ids[0], "exec"),
    ]  # fmt: skip
    first = listed[0]
    assert (first["user"], first["cluster"], first["namespace"], first["pod"]) == ("alice", "prod", "shop", "web-0")  # fmt: skip
    assert (first["status"], first["bytesOut"]) == (101, 2048)
    assert first["startedAt"] <= first["endedAt"]


def test_those_under_way_and_by_what_is_asked(plane: Plane) -> None:
    stream(plane, "exec")
    going = stream(plane, "exec", None, "bob")
    client = plane.client()
    [item] = client.get("/sessions", {"open": True})["items"]
    assert (item["id"], item["endedAt"]) == (going, "")
    assert [i["user"] for i in client.get("/sessions", {"user": "alice"})["items"]] == ["alice"]
    assert client.get("/sessions", {"cluster": "test"})["items"] == []
    assert len(list(client.pages("/sessions", {"limit": 1}))) == 2


def test_one_sees_ones_own_and_those_in_scope(plane: Plane) -> None:
    found(plane)
    stream(plane, "exec", user="alice")
    mine = stream(plane, "exec", user="nosy")
    nosy = Client(
        plane.granted("nosy", "project-read-only", Scope(ScopeKind.PROJECT, project="bank"))
    )
    assert [item["id"] for item in nosy.get("/sessions")["items"]] == [mine]
    chief = Client(plane.granted("chief", "cluster-admin", PROD))
    assert len(chief.get("/sessions")["items"]) == 2
    assert {event["actor"] for event in plane.events("session.list")} == {"nosy", "chief"}
