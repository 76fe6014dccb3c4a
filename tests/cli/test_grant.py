"""Grants by command: given with a scope, an end and a reason, and taken back."""

import json
from pathlib import Path

import pytest

from proxy.cli.moments import parse
from tests.cli.conftest import Command
from tests.control.plane import Plane


@pytest.fixture
def rob(prod: Plane, command: Command) -> Plane:
    command("group", "add", "dev")
    assert command("user", "add", "rob", "--group", "dev").code == 0
    return prod


def given(command: Command, *arguments: str) -> str:
    done = command("grant", "add", *arguments, "-o", "name")
    assert done.code == 0, done.err
    return done.out.strip()


def test_given_and_shown(rob: Plane, command: Command) -> None:
    done = command(
        "grant", "add", "--user", "rob", "--role", "namespace-read-only", "--cluster", "prod",
        "--namespace", "default", "--expires", "30d", "--reason", "on call",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.startswith(
        "Granted namespace-read-only to user rob: namespace default of prod, until "
    )
    identity = done.out.split()[-1]
    item = json.loads(command("grant", "show", identity, "-o", "json").out)
    assert (item["scope"], item["status"], item["reason"]) == (
        {"kind": "namespace", "cluster": "prod", "namespace": "default"}, "active", "on call",
    )  # fmt: skip
    left = parse(item["expiresAt"]) - parse(item["createdAt"])
    assert abs(left.total_seconds() - 30 * 86400) < 60
    assert "on call" in command("grant", "show", identity).out
    assert rob.events("grant.add")[-1]["detail"]["reason"] == "on call"


def test_lists_by_what_it_is(rob: Plane, command: Command) -> None:
    del rob
    mine = given(command, "--user", "rob", "--role", "cluster-admin", "--cluster", "prod")
    ours = given(command, "--group", "dev", "--role", "cluster-admin", "--cluster", "test")
    all_of_it = given(command, "--user", "rob", "--role", "auditor", "--organization")
    for options, found in (
        (["--user", "rob"], [all_of_it, mine]),
        (["--group", "dev"], [ours]),
        (["--cluster", "prod"], [mine]),
        (["--role", "cluster-admin"], [ours, mine]),
    ):
        listed = command("grant", "list", *options, "-o", "name").out.split()
        assert listed == found, options
    assert "organization" in command("grant", "list").out


def test_revoked_one_by_one_and_by_what_it_is(rob: Plane, command: Command) -> None:
    first = given(command, "--user", "rob", "--role", "cluster-admin", "--cluster", "prod")
    given(command, "--user", "rob", "--role", "auditor", "--organization")
    given(command, "--group", "dev", "--role", "cluster-admin", "--cluster", "prod")
    done = command("grant", "revoke", first, "--reason", "moved on", "--yes", "-o", "name")
    assert (done.code, done.out.strip()) == (0, first), done.err
    assert command("grant", "revoke", "--user", "rob", "--yes").code == 0
    assert command("grant", "list", "--user", "rob", "-o", "name").out == ""
    assert "moved on" in command("grant", "show", first).out
    assert len(command("grant", "list", "-o", "name").out.split()) == 1
    assert command("grant", "revoke", "--user", "rob", "--yes").code == 4
    assert len(command("grant", "list", "--user", "rob", "--all", "-o", "name").out.split()) == 2
    assert rob.events("grant.revoke")[1]["detail"]["reason"] == "moved on"


def test_an_id_may_be_cut_short_when_it_is_the_only_one(rob: Plane, command: Command) -> None:
    del rob
    first = given(command, "--user", "rob", "--role", "cluster-admin", "--cluster", "prod")
    given(command, "--user", "rob", "--role", "cluster-admin", "--cluster", "test")
    both = command("grant", "show", first[:4])
    assert (both.code, "ids begin with" in both.err) == (2, True)
    assert command("grant", "show", first[:-1], "-o", "name").out.strip() == first
    assert command("grant", "show", "ffff").code == 4


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "--role", "admin", "--organization"], 2, "to whom"),
        (["add", "--role", "admin", "--user", "rob", "--group", "dev", "--organization"], 2, "not both"),
        (["add", "--role", "admin", "--user", "rob"], 2, "Say where"),
        (["add", "--role", "admin", "--user", "rob", "--cluster", "prod"], 2, "admin"),
        (["add", "--role", "none", "--user", "rob", "--organization"], 4, "'none'"),
        (["add", "--role", "cluster-admin", "--user", "rob", "-c", "none"], 4, "'none'"),
        (["add", "--role", "cluster-admin", "--user", "none", "-c", "prod"], 4, "'none'"),
        (["add", "--role", "cluster-admin", "--user", "rob", "-c", "prod", "--expires", "2020-01-01"], 2, "past"),
        (["add", "--role", "cluster-admin", "--user", "rob", "-c", "prod", "--expires", "-5d"], 2, "'-5d' is past"),
        (["add", "--role", "cluster-admin", "--user", "rob", "-c", "prod", "--expires", "30"], 2, "30d or 8h (from now)"),
        (["revoke"], 2, "Say what to revoke"),
        (["revoke", "abc", "--user", "rob"], 2, "Say what to revoke"),
        (["show", "none"], 4, "'none'"),
    ],
)  # fmt: skip
def test_what_is_refused(
    rob: Plane, command: Command, arguments: list[str], code: int, said: str
) -> None:
    del rob
    done = command("grant", *arguments)
    assert (done.code, said in done.err) == (code, True), done.err


def test_pages_say_what_of_them_may_not_be_seen(
    rob: Plane, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del rob
    command("project", "add", "shop")
    command("user", "add", "ci", "--service")
    given(command, "--user", "ci", "--role", "admin-read-only", "--organization")
    looks = ("-P", "user.look", "-P", "project.look", "-P", "credential.look")
    secret = command("token", "add", "ci", *looks, "--expires", "1h").out
    file = tmp_path / "token"
    file.write_text(secret)
    monkeypatch.setenv("KUBEWITNESS_TOKEN_FILE", str(file))
    for noun, name in (("user", "rob"), ("group", "dev"), ("project", "shop")):
        done = command(noun, "show", name)
        assert (done.code, name in done.out) == (0, True), done.err
        assert "Not shown: " in done.err
        assert "grant.look" in done.err
        assert "Grants" not in done.out
        assert ("0 valid credentials" in done.out) == (noun == "user")
