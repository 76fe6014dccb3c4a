"""Retention by command: proposed, approved by two, and not run without what it takes."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command


def test_propose_approve_list(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Nothing was proposed" in command("audit", "retain", "list").err
    monkeypatch.setenv("KUBEWITNESS_CONFIG", str(tmp_path / "contexts.yaml"))
    via: dict[str, tuple[str, str]] = {}
    for name in ("ann", "bob"):
        file = tmp_path / f"{name}.yaml"
        assert command("context", "issue", name, "--role", "admin", "-o", str(file)).code == 0
        [context] = yaml.safe_load(file.read_text())["contexts"]
        command("context", "add", str(file), direct=True)
        via[name] = ("--via", context["name"])
    made = command(
        "audit", "retain", "--older-than", "400d", "--reason", "policy", "-o", "json", *via["ann"],
        direct=True,
    )  # fmt: skip
    identity = str(json.loads(made.out)[0]["id"])
    approve = ("audit", "retain", "approve", identity)
    refused = command(*approve)
    assert (refused.code, "not a registered person" in refused.err) == (3, True), refused.err
    first = command(*approve, *via["ann"], direct=True)
    assert "One more person" in first.err
    assert command(*approve, *via["ann"], direct=True).code == 5
    assert "Approved." in command(*approve, *via["bob"], direct=True).err
    assert "ann, bob" in command("audit", "retain", "list").out


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
