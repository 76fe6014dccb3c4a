"""`audit system`: each act once, with what came of it; filters; and only what one may see."""

import csv
import io
import json
from typing import Any

import pytest

from proxy.audit.event import SystemEvent, body
from proxy.cli.audit_system import row
from proxy.clock import rfc3339
from tests.cli.conftest import Command
from tests.control.plane import Plane


def act(plane: Plane, number: int, *outcomes: str, **given: Any) -> None:
    members = {"action": "grant.add", "actor": "alice", "target": "bob"} | given
    now = rfc3339(plane.clock.now())
    bodies = [body(SystemEvent(f"act-{number}", now, outcome=o, **members)) for o in outcomes]
    plane.run(plane._append(bodies))


def names(command: Command, *options: str) -> list[str]:
    done = command("audit", "system", "-o", "name", *options)
    assert done.code == 0, done.err
    return [line for line in done.out.splitlines() if line.startswith("act-")]


def test_an_act_is_one_line_with_what_came_of_it(plane: Plane, command: Command) -> None:
    detail = {"via": "cli", "reason": "ticket 7"}
    act(plane, 1, "requested", "ok", source_ips=("10.0.0.9",), detail=detail)
    act(plane, 2, "requested")
    header, *lines = command("audit", "system").out.splitlines()
    assert header.split() == [
        "TIME",
        "ACTOR",
        "ACTION",
        "TARGET",
        "OUTCOME",
        "FROM",
        "VIA",
        "REASON",
    ]
    cells = [line.split()[-8:] for line in lines if "grant.add" in line]
    assert cells[0][-4:] == ["alice", "grant.add", "bob", "requested"]
    assert cells[1] == ["alice", "grant.add", "bob", "ok", "10.0.0.9", "cli", "ticket", "7"]
    assert names(command) == ["act-2", "act-1"]
    assert names(command, "--all") == ["act-2", "act-1", "act-1"]


def test_filters(plane: Plane, command: Command) -> None:
    act(plane, 1, "requested", "ok")
    act(plane, 2, "denied: needs grant.manage", actor="rob")
    act(plane, 3, "ok", action="credential.issue", target="carol")
    assert names(command, "--denied") == ["act-2"]
    assert names(command, "--actor", "alice") == ["act-3", "act-1"]
    assert names(command, "--actor", "alice", "--actor", "rob") == ["act-3", "act-2", "act-1"]
    assert names(command, "--action", "grant.*") == ["act-2", "act-1"]
    assert names(command, "--target", "carol") == ["act-3"]
    assert names(command, "--since", "1h", "--target", "bob", "--denied") == ["act-2"]
    assert names(command, "--until", "1h") == []


def test_forms_and_limits(plane: Plane, command: Command) -> None:
    for number in range(5):
        act(plane, number, "requested", "ok")
    done = command("audit", "system", "--actor", "alice", "--limit", "3", "-o", "json")
    assert [item["auditID"] for item in json.loads(done.out)] == ["act-4", "act-3", "act-2"]
    assert "There are more" in done.err
    done = command("audit", "system", "--actor", "alice", "--limit", "5", "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [one["outcome"] for one in rows] == ["ok"] * 5
    assert "There are more" not in done.err
    assert "outcome: ok" not in command("audit", "system", "-o", "yaml", "--actor", "nobody").out


def test_following_shows_what_was_before_and_ends_with_the_server(
    plane: Plane, command: Command, stop: Any
) -> None:
    act(plane, 1, "requested", "ok")
    refused = command("audit", "system", "-f", "-o", "csv")
    assert (refused.code, "table, json or name" in refused.err) == (2, True)
    import threading

    timer = threading.Timer(2, stop)
    timer.start()
    done = command("audit", "system", "-f", "--actor", "alice", "-o", "json")
    timer.join()
    assert "Start `audit system -f` again" in done.err
    outcomes = [json.loads(line).get("outcome", "ok") for line in done.out.splitlines()]
    assert outcomes == ["requested", "ok"]


@pytest.mark.parametrize("event", [{}, {"detail": None, "actor": ""}])
def test_a_line_needs_no_member(event: dict[str, Any]) -> None:
    assert row(event) == ("", "-", "", "", "ok", "", "", "")
