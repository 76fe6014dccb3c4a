"""Looking at the audit log: what is found, what is recorded of the look, and in which order."""

import csv
import io
import json
import threading
from typing import Any

import pytest

from proxy.audit.event import ObjectRef, User
from proxy.cli.client import Client
from proxy.errors import InvalidInputError, KubewitnessError, NotFoundError, UnavailableError
from proxy.state.snapshot import Usage
from tests.control.plane import Plane


def found(client: Client, **query: Any) -> list[str]:
    return [item["auditID"] for item in client.get("/audit/calls", query)["items"]]


def test_a_call_is_found_right_after_it_was_recorded(plane: Plane) -> None:
    client = plane.client()
    for _ in range(20):
        audit_id = plane.call()
        page = client.get("/audit/calls", {"user": "alice", "limit": 1})
        assert page["complete"]
        assert page["items"][0]["auditID"] == audit_id
        assert page["items"][0]["stage"] == "ResponseComplete"


FILTERS = [
    ({"user": "alice"}, {"user": "bob"}),
    ({"user": "al*"}, {"user": "al"}),
    ({"group": "dev"}, {"group": "de"}),
    ({"cluster": "prod"}, {"cluster": "test"}),
    ({"namespace": "shop"}, {"namespace": "sho"}),
    ({"resource": "po"}, {"resource": "deploy"}),
    ({"name": "web-*"}, {"name": "web"}),
    ({"verb": "get"}, {"verb": "list"}),
    ({"class": "read"}, {"class": "mutate"}),
    ({"status": "2xx"}, {"status": ">=400"}),
    ({"source": "10.0.0.0/8"}, {"source": "10.0.0.2"}),
    ({"tool": "kubectl"}, {"tool": "helm"}),
    ({"session": "5f0c"}, {"session": "5f"}),
    ({"command": "kubectl get"}, {"command": "kubectl delete"}),
    ({"text": "WEB-0"}, {"text": "nothing"}),
    ({"since": "1h"}, {"until": "1h"}),
    ({"user": ["bob", "alice"]}, {"user": ["bob", "carol"]}),
]


def test_filters(plane: Plane) -> None:
    client, audit_id = plane.client(), plane.call()
    for hit, miss in FILTERS:
        assert found(client, **hit) == [audit_id], hit
        assert found(client, **miss) == [], miss


@pytest.mark.parametrize(
    "query",
    [{"status": "many"}, {"source": "here"}, {"since": "soon"}, {"cursor": "x"}, {"kind": "all"}, {"limit": 0}],
    ids=str,
)  # fmt: skip
def test_filters_that_mean_nothing_are_refused(plane: Plane, query: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        plane.client().get("/audit/calls", query)


def test_noise_is_shown_when_asked_for(plane: Plane) -> None:
    plane.call(call_class="discovery", object_ref=None, request_uri="/apis")
    assert found(plane.client()) == []
    assert len(found(plane.client(), all=True)) == 1


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


def test_export_as_lines_and_as_a_table(plane: Plane) -> None:
    ids = [plane.call(user=User(name)) for name in ("=cmd()", 'a"b\n', "bob\x1b[2J")]
    client = plane.client()
    lines = b"".join(client.chunks("/audit/export")).splitlines()
    assert [json.loads(line)["auditID"] for line in lines] == ids
    text = b"".join(client.chunks("/audit/export", {"format": "csv"})).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["audit_id"] for row in rows] == ids
    assert [row["user"] for row in rows] == ["'=cmd()", 'a"b\\n', "bob\\x1b[2J"]
    assert rows[0]["total_ms"] == "1.500"
    # Durable before the last byte was sent.
    outcome = plane.events("audit.export")[1]
    assert outcome["detail"]["results"] == 3


def test_a_large_export_is_whole(plane: Plane) -> None:
    plane.run(plane._append([body for _ in range(1250) for body in plane.bodies()]))
    lines = b"".join(plane.client().chunks("/audit/export")).splitlines()
    assert len({json.loads(line)["auditID"] for line in lines}) == 1250


def test_an_export_that_fails_half_way_does_not_look_whole(plane: Plane) -> None:
    plane.run(plane._append([body for _ in range(1250) for body in plane.bodies()]))
    plane.index.fail_after = 1
    with pytest.raises(UnavailableError, match="broke off"):
        list(plane.client().chunks("/audit/export"))
    assert plane.events("audit.export")[-1]["outcome"].startswith("failed: The index")


def test_an_export_without_a_recorded_outcome_does_not_look_whole(plane: Plane) -> None:
    plane.call()
    plane.journal.refuse_after = 1
    with pytest.raises(UnavailableError, match="broke off"):
        list(plane.client().chunks("/audit/export"))


class Tail:
    """Follows the log in a thread of its own."""

    def __init__(self, client: Client, **query: Any) -> None:
        self.ids: list[str] = []
        self.error: KubewitnessError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(client, query), daemon=True)
        self._thread.start()

    def _run(self, client: Client, query: dict[str, Any]) -> None:
        try:
            for kind, item in client.events("/audit/tail", query):
                assert kind == "record"
                with self._changed:
                    self.ids.append(item["auditID"])
                    self._changed.notify()
        except KubewitnessError as error:
            self.error = error

    def wait(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ids) >= count, 10)
            return self.ids

    def ended(self) -> bool:
        self._thread.join(10)
        return not self._thread.is_alive()


def test_tail_begins_with_the_last_and_goes_on(plane: Plane) -> None:
    ids = [plane.call() for _ in range(5)]
    tail = Tail(plane.client(), last=3)
    tail.wait(3)
    plane.call(user=User("bob"))
    ids = [*ids[2:], plane.call()]
    assert tail.wait(5)[:3] == ids[:3]
    assert ids[-1] in tail.wait(5)


def test_tail_filters(plane: Plane) -> None:
    first = plane.call()
    tail = Tail(plane.client(), user="alice")
    tail.wait(1)
    plane.call(user=User("bob"))
    last = plane.call()
    assert tail.wait(2) == [first, last]


def test_a_revoked_reader_is_cut_off(plane: Plane) -> None:
    plane.call()
    tail = Tail(Client(plane.credential("carol", Usage.ADMIN)))
    tail.wait(1)
    plane.client().post("/credentials/revoke", {"user": "carol"})
    assert tail.ended()


def test_a_stopping_server_ends_its_tails(plane: Plane) -> None:
    plane.call()
    tail = Tail(plane.client())
    tail.wait(1)
    plane.stop()
    assert tail.ended()
