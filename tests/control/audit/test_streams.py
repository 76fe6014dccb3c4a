"""Exports that are whole or visibly broken, and tails that go on and end when they must."""

import csv
import io
import json
import threading
from typing import Any

import pytest

from proxy.audit.event import User
from proxy.cli.client import Client
from proxy.errors import InvalidInputError, KubewitnessError, UnavailableError
from tests.control.plane import Plane


def test_export_as_lines_and_as_a_table(plane: Plane) -> None:
    ids = [plane.call(user=User(name)) for name in ("=cmd()", 'a"b\n', "bob\x1b[2J")]
    client = plane.client()
    lines = b"".join(client.chunks("/audit/export")).splitlines()
    assert [json.loads(line)["auditID"] for line in lines] == ids
    text = b"".join(client.chunks("/audit/export", {"format": "csv"})).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["audit_id"] for row in rows] == ids
    assert [row["username"] for row in rows] == ["'=cmd()", 'a"b\n', "bob\x1b[2J"]
    assert rows[0]["total_micros"] == "1500"
    # Durable before the last byte was sent.
    outcome = plane.events("audit.export")[1]
    assert outcome["detail"]["results"] == 3


def test_a_large_export_is_whole(plane: Plane) -> None:
    plane.run(plane._append([body for _ in range(1250) for body in plane.bodies()]))
    lines = b"".join(plane.client().chunks("/audit/export")).splitlines()
    assert len({json.loads(line)["auditID"] for line in lines}) == 1250


@pytest.mark.parametrize(
    ("route", "more"), [("/audit/export", {"format": "csv"}), ("/audit/tail", {"last": 0})]
)
def test_a_filter_that_cannot_be_read_is_refused_before_anything_is_sent(
    plane: Plane, route: str, more: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError, match="'forbidden' is not a status"):
        list(plane.client().chunks(route, {"status": "forbidden", **more}))


def test_an_export_that_would_lack_events_is_refused_unless_that_is_asked_for(
    plane: Plane,
) -> None:
    there = plane.call()
    client = plane.client()
    client.get("/audit/calls")
    plane.index.behind = True
    plane.call()
    with pytest.raises(UnavailableError, match="the index is behind what is on record"):
        list(client.chunks("/audit/export"))
    lines = b"".join(client.chunks("/audit/export", {"incomplete": True})).splitlines()
    assert {json.loads(line)["auditID"] for line in lines} == {there}
    assert plane.events("audit.export")[-1]["detail"]["complete"] is False


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
    tail = Tail(Client(plane.granted("carol", "admin")))
    tail.wait(1)
    plane.client().post("/credentials/revoke", {"user": "carol"})
    assert tail.ended()


def test_a_stopping_server_ends_its_tails(plane: Plane) -> None:
    plane.call()
    tail = Tail(plane.client())
    tail.wait(1)
    plane.stop()
    assert tail.ended()
