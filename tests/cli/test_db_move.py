"""`kubewitness db move` by hand, with a real PostgreSQL."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.runtime.local_acts import person
from tests.cli.conftest import Command
from tests.control.plane import Plane
from tests.postgres import Database


def acts(plane: Plane) -> list[dict[str, Any]]:
    """The records of moves, in every journal of the directory."""
    lines = [
        line
        for path in sorted(Path(plane.data.journal).glob("*/*.jsonl"))
        for line in path.read_bytes().split(b"\n")
        if b'"state.move"' in line
    ]
    return [json.loads(line) for line in lines]


def test_clusters_and_credentials_go_along_and_it_is_on_record(
    prod: Plane,
    command: Command,
    stop: Callable[[], None],
    upgraded: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop()
    monkeypatch.setenv("KUBEWITNESS_DATABASE", upgraded)
    monkeypatch.setenv("KUBEWITNESS_JOURNAL_UNSAFE_FILESYSTEM", "allow")
    done = command("db", "move")
    assert done.code == 0, done.err
    assert "2  clusters" in done.out
    assert "journal open" not in done.out + done.err, "that is for the log"
    names = database.exec("SELECT string_agg(name, ',' ORDER BY name) FROM kubewitness.clusters")
    assert "prod,test" in names
    again = command("db", "move")
    assert (again.code, "has a state already" in again.err) == (5, True), again.err
    outcomes = [act.get("outcome", "ok") for act in acts(prod)]
    assert outcomes[:3] == ["requested", "ok", "requested"]
    assert outcomes[3].startswith("failed: The database has a state already")
    assert acts(prod)[1]["detail"]["clusters"] == 2
    assert {(act["actor"], act["detail"]["via"]) for act in acts(prod)} == {
        (person().name, "cli (local)")
    }
    assert ":p@" not in str(acts(prod)), "no password"


def test_it_needs_a_database_and_nothing_that_serves(
    plane: Plane, command: Command, stop: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBEWITNESS_DATABASE", raising=False)
    stop()
    done = command("db", "move")
    assert (done.code, "name no database" in done.err) == (2, True), done.err
    with plane.data.exclusively():
        busy = command("db", "move")
    assert (busy.code, "in use" in busy.err) == (5, True), busy.err
