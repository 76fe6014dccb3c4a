"""Looking at the audit log: what is found, what is recorded of the look, and in which order."""

from typing import Any

import pytest

from proxy.audit.event import ObjectRef, User
from proxy.errors import InvalidInputError, NotFoundError, UnavailableError
from tests.control.plane import Plane


def test_a_call_is_found_right_after_it_was_recorded(plane: Plane) -> None:
    client = plane.client()
    for _ in range(20):
        audit_id = plane.call()
        page = client.get("/audit/calls", {"user": "alice", "limit": 1})
        assert page["complete"]
        assert page["items"][0]["auditID"] == audit_id
        assert page["items"][0]["stage"] == "ResponseComplete"


def test_pages_are_whole_and_do_not_overlap(plane: Plane) -> None:
    ids = [plane.call() for _ in range(25)]
    for oldest in (False, True):
        seen: list[str] = []
        cursor = ""
        while True:
            page = plane.client().get(
                "/audit/calls", {"limit": 10, "cursor": cursor, "oldest": oldest}
            )
            seen += [item["auditID"] for item in page["items"]]
            cursor = page["next"]
            if not cursor:
                break
        assert seen == (ids if oldest else ids[::-1])


def test_show_gives_every_event_of_a_call(plane: Plane) -> None:
    audit_id = plane.call()
    items = plane.client().get(f"/audit/calls/{audit_id}")["items"]
    assert [item["stage"] for item in items] == ["RequestReceived", "ResponseComplete"]
    assert all(item["seq"] and item["writer"] for item in items)
    assert not any("salt" in item for item in items)
    with pytest.raises(NotFoundError):
        plane.client().get("/audit/calls/01900000-0000-7000-8000-000000000000")


def test_what_the_index_does_not_have_yet_is_not_said_to_be_unrecorded(plane: Plane) -> None:
    client = plane.client()
    client.get("/audit/calls")
    plane.index.behind = True
    audit_id = plane.call()
    with pytest.raises(UnavailableError, match="the index is behind what is on record"):
        client.get(f"/audit/calls/{audit_id}")


def test_who_and_stats(plane: Plane) -> None:
    web = ObjectRef("deployments", "shop", "web", "apps", "v1")
    plane.call(object_ref=web)
    plane.call(object_ref=web, verb="patch", code=409)
    plane.call(object_ref=web, user=User("bob"), verb="delete")
    client = plane.client()
    who = client.get("/audit/who", {"resource": "deploy", "name": "web", "namespace": "shop"})[
        "items"
    ]
    assert {item["user"]: item["verbs"] for item in who} == {
        "alice": {"get": 1, "patch": 1},
        "bob": {"delete": 1},
    }
    assert (
        client.get("/audit/who", {"resource": "deploy", "name": "web", "namespace": "x"})["items"]
        == []
    )
    stats = client.get("/audit/stats", {"by": "user", "bucket": 3600})
    assert (stats["total"], stats["failed"]) == (3, 1)
    assert stats["items"][0] == {"value": "alice", "count": 2, "failed": 1}
    assert sum(item["count"] for item in stats["buckets"]) == 3
    with pytest.raises(InvalidInputError, match="'colour'"):
        client.get("/audit/stats", {"by": "colour"})


LOOKS = [
    ("/audit/calls", {"user": "alice"}, "audit.search"),
    ("/audit/who", {"resource": "pods", "name": "web-0"}, "audit.who"),
    ("/audit/stats", {"by": "verb"}, "audit.stats"),
]


@pytest.mark.parametrize(("path", "query", "action"), LOOKS)
def test_a_look_is_recorded_before_and_after(
    plane: Plane, path: str, query: dict[str, Any], action: str
) -> None:
    plane.call()
    plane.client().get(path, query)
    intent, outcome = plane.events(action)
    assert (intent["outcome"], outcome.get("outcome", "ok")) == ("requested", "ok")
    assert intent["actor"] == "admin"
    if "query" in intent["detail"]:
        assert intent["detail"]["query"] == "&".join(
            f"{key}={value}" for key, value in query.items()
        )


@pytest.mark.parametrize("path", ["/audit/calls", "/audit/stats", "/audit/export", "/audit/tail"])
def test_without_a_record_nothing_is_shown(plane: Plane, path: str) -> None:
    client = plane.client()
    plane.journal.refuse = "no space left on device"
    with pytest.raises(UnavailableError, match="no space left"):
        list(client.chunks(path))


def test_looks_are_found_as_system_events(plane: Plane) -> None:
    plane.client().get("/audit/calls", {"user": "alice"})
    items = plane.client().get("/audit/calls", {"kind": "system", "limit": 1000})["items"]
    assert "audit.search" in {item["action"] for item in items}
