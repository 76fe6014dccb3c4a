"""Retention by command: proposed, approved by two, and not run without what it takes."""

import json
from pathlib import Path

import pytest

from proxy.cli.client import Client
from tests.cli.conftest import Command
from tests.control.plane import Plane


def proposed(command: Command) -> str:
    done = command("audit", "retain", "--older-than", "400d", "--reason", "policy", "-o", "json")
    return str(json.loads(done.out)[0]["id"])


def test_propose_approve_list(plane: Plane, command: Command) -> None:
    assert "Nothing was proposed" in command("audit", "retain", "list").err
    identity = proposed(command)
    first = command("audit", "retain", "approve", identity)
    assert "One more person" in first.err
    assert command("audit", "retain", "approve", identity).code == 5
    Client(plane.granted("bob", "admin")).post(f"/retentions/{identity}/approve")
    assert "admin, bob" in command("audit", "retain", "list").out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "--older-than 400d"),
        (("--older-than", "a year"), 2, "not a number of days"),
        (("--older-than", "10d", "--reason", "x"), 2, "90 days at least"),
        (("--older-than", "400d"), 2, "Say why"),
        (("approve", "none"), 4, "no retention"),
        (("run", "none", "--archive", "/"), 2, "KUBEWITNESS_ADMIN_DATABASE"),
        (("run", "none", "--archive", "/nowhere", "--database", "postgresql://x"), 2, "directory"),
        (("run", "none", "--archive", "/", "--database", "postgresql://x"), 4, "no retention"),
    ],
)
def test_what_is_missing_is_said(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.delenv("KUBEWITNESS_ADMIN_DATABASE", raising=False)
    done = command("audit", "retain", *words)
    assert (done.code, says in done.err) == (code, True), done.err


def test_nothing_is_removed_without_an_archive_named(command: Command, tmp_path: Path) -> None:
    done = command("audit", "retain", "run", "x", "--database", "postgresql://x")
    assert (done.code, "--archive" in done.err) == (2, True)
