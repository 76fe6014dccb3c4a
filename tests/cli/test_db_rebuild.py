"""`kubewitness db rebuild` by hand: what it did is on record, and what it found."""

from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.runtime.local_acts import person
from tests.cli.conftest import Command, local_acts
from tests.control.plane import Plane


def test_an_embedded_index_is_rebuilt_while_nothing_serves(
    plane: Plane, command: Command, stop: Callable[[], None]
) -> None:
    plane.client().get("/audit/calls")
    stop()
    done = command("db", "rebuild")
    assert (done.code, "byte for byte" in done.out) == (0, True), done.err
    assert "journal open" not in done.out + done.err, "that is for the log"
    intent, outcome = local_acts(plane)
    assert (intent["action"], intent["outcome"]) == ("index.rebuild", "requested")
    assert (intent["target"], intent["actor"]) == ("index.db", person().name)
    assert (outcome.get("outcome", "ok"), outcome["detail"]["missing"]) == ("ok", 0)
    assert f"{outcome['detail']['records']} records" in done.out


def test_what_an_index_lacks_is_added_to_a_shared_one_and_that_is_on_record(
    plane: Plane, command: Command, upgraded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEWITNESS_DATABASE", upgraded)
    monkeypatch.delenv("KUBEWITNESS_ADMIN_DATABASE")
    plane.client().get("/audit/calls")
    done = command("db", "rebuild")
    assert done.code == 0, done.err
    intent, outcome = local_acts(plane)
    assert intent["target"] == outcome["target"]
    assert ":p@" not in str(local_acts(plane)), "no password"
    assert outcome["detail"]["records"] > 0


def test_a_rebuild_that_fails_is_on_record_as_failed(
    plane: Plane, command: Command, stop: Callable[[], None]
) -> None:
    stop()
    (plane.data.path / "index.new.db").mkdir()
    (plane.data.path / "index.new.db" / "x").touch()
    assert command("db", "rebuild").code != 0
    assert [item["outcome"][:7] for item in local_acts(plane)] == ["request", "failed:"]


def test_journals_of_replicas_are_for_a_shared_database(
    plane: Plane, command: Command, stop: Callable[[], None], tmp_path: Path
) -> None:
    stop()
    done = command("db", "rebuild", "--journals", str(tmp_path))
    assert (done.code, "share a database" in done.err) == (2, True)
    nowhere = command("db", "rebuild", "--journals", "/nowhere/journal")
    assert (nowhere.code, "no directory /nowhere/journal" in nowhere.err) == (2, True)
    elsewhere = command("db", "rebuild", "--data-dir", "/nowhere", direct=True)
    assert (elsewhere.code, "not a kubewitness data directory" in elsewhere.err) == (4, True)
