"""What an investigation is made of: rows of the index, summed up."""

from typing import Any

from proxy.audit.index.rows import EVENT, SYSTEM_EVENT, Row
from proxy.control.audit.investigation import (
    addresses_of,
    call_item,
    commands_of,
    objects_of,
    sightings_of,
)
from proxy.state.sightings import Sighting

SECOND = 1_000_000


def a_row(at: int, **given: Any) -> Row:
    """A call that ended `at` seconds after the epoch, and began then."""
    made: dict[str, Any] = {
        "username": "alice", "credential": "a1", "source_ip": "10.0.0.1", "cluster": "prod",
        "verb": "get", "resource": "pods", "namespace": "shop", "name": "web", "code": 200,
        "tool": "kubectl", "command": "kubectl get", "session": "s1",
    }  # fmt: skip
    row = Row("w", at, EVENT, f"id-{at}", at=at * SECOND, received_at=at * SECOND)
    return row._replace(**(made | given))


def test_a_call_in_short() -> None:
    row = a_row(60, subresource="exec", code=101, suspicious="\nnew-address\nnew-network\n")
    item = call_item(row)
    assert (item.id, item.at) == ("id-60", "1970-01-01T00:01:00.000000Z")
    assert (item.address, item.credential, item.cluster) == ("10.0.0.1", "a1", "prod")
    assert (item.verb, item.resource, item.namespace, item.name) == ("get", "pods/exec", "shop", "web")  # fmt: skip
    assert (item.status, item.flags) == (101, ("new-address", "new-network"))


def test_what_is_no_resource_and_what_is_no_call() -> None:
    item = call_item(a_row(1, resource="", namespace="", name="", uri="/version?x=1"))
    assert (item.resource, item.flags) == ("/version", ())
    grouped = call_item(a_row(1, resource="deployments", api_group="apps", subresource="scale"))
    assert grouped.resource == "deployments.apps/scale"
    act = Row("w", 1, SYSTEM_EVENT, "id", action="audit.search", target="x", username="alice")
    assert (call_item(act).verb, call_item(act).resource, call_item(act).name) == (
        "audit.search",
        "",
        "x",
    )


def test_calls_of_one_invocation_are_one_command() -> None:
    rows = [
        a_row(9, command="", session="", tool="curl", cluster="stage", code=403),
        a_row(5, cluster="stage", code=404),
        a_row(3),
        a_row(2, session="s2"),
        a_row(1, command="", session="", tool="curl"),
        a_row(1, command="", session="", tool="curl", source_ip="10.0.0.2"),
    ]
    found = commands_of(rows, 10)
    shown = [(one.command, one.session, one.tool, one.address, one.calls, one.failed) for one in found]  # fmt: skip
    assert shown == [
        ("", "", "curl", "10.0.0.1", 2, 1),
        ("kubectl get", "s1", "kubectl", "10.0.0.1", 2, 1),
        ("kubectl get", "s2", "kubectl", "10.0.0.1", 1, 0),
        ("", "", "curl", "10.0.0.2", 1, 0),
    ]
    assert found[1].clusters == ("prod", "stage")
    assert found[1].first_seen < found[1].last_seen
    assert commands_of(rows, 2) == found[:2]


def test_objects_and_what_was_done_to_them() -> None:
    rows = [
        a_row(4, verb="delete", code=403),
        a_row(3),
        a_row(2),
        a_row(1, resource="secrets", name="", verb="list"),
        a_row(1, resource="", uri="/version"),
    ]
    pod, secrets = objects_of(rows, 10)
    assert (pod.resource, pod.name, pod.verbs, pod.failed) == ("pods", "web", {"get": 2, "delete": 1}, 1)  # fmt: skip
    assert (secrets.resource, secrets.name, secrets.verbs) == ("secrets", "", {"list": 1})
    assert objects_of(rows, 1) == (pod,)


def test_addresses_are_of_all_time_and_say_with_what() -> None:
    seen = [
        Sighting("alice", "", "10.0.0.2", 100.0, 900.0, 5),
        Sighting("alice", "a2", "10.0.0.2", 500.0, 900.0, 2),
        Sighting("alice", "a1", "10.0.0.2", 100.0, 400.0, 3),
        Sighting("alice", "", "10.0.0.1", 50.0, 60.0, 1),
    ]
    later, earlier = addresses_of(seen, lambda address: f"net of {address}", 10)
    assert (later.address, later.network, later.calls) == ("10.0.0.2", "net of 10.0.0.2", 5)
    assert later.credentials == ("a1", "a2")
    assert (later.first_seen, later.last_seen) == (
        "1970-01-01T00:01:40.000000Z",
        "1970-01-01T00:15:00.000000Z",
    )
    assert (earlier.address, earlier.credentials) == ("10.0.0.1", ())
    assert addresses_of(seen, str, 1)[0].address == "10.0.0.2"


def test_some_calls_say_where_they_came_from() -> None:
    rows = [a_row(3), a_row(1, credential="a2"), a_row(2, source_ip="10.0.0.2", credential="")]
    found = sightings_of("alice", rows)
    assert sorted(found, key=lambda one: (one.address, one.credential)) == [
        Sighting("alice", "", "10.0.0.1", 1.0, 3.0, 2),
        Sighting("alice", "a1", "10.0.0.1", 3.0, 3.0, 1),
        Sighting("alice", "a2", "10.0.0.1", 1.0, 1.0, 1),
        Sighting("alice", "", "10.0.0.2", 2.0, 2.0, 1),
    ]
