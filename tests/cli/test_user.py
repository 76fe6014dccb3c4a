"""Users by command: registered, changed, disabled, removed, and what is said of it."""

import io
import json

import pytest

from tests.cli.conftest import Command
from tests.control.plane import Plane


@pytest.fixture
def people(prod: Plane, command: Command) -> Plane:
    assert command("group", "add", "dev").code == 0
    assert command("group", "add", "ops").code == 0
    done = command("user", "add", "rob", "--group", "dev", "--display-name", "Rob Roy")
    assert (done.code, done.out) == (0, "Added rob, in dev.\n"), done.err
    return prod


def test_add_list_show(people: Plane, command: Command) -> None:
    del people
    done = command("user", "add", "ci-shop", "--service", "--reason", "deploys", "-o", "json")
    assert json.loads(done.out)["kind"] == "service"
    alone = command("user", "add", "ann@example.org")
    assert (alone.out, "grant add --user ann@example.org" in alone.err) == ("Added ann@example.org.\n", True)  # fmt: skip
    assert command("user", "list", "-o", "name").out == "ann@example.org\nci-shop\nrob\n"
    assert command("user", "list", "--group", "dev", "-o", "name").out == "rob\n"
    page = command("user", "show", "rob").out
    assert "Rob Roy" in page
    assert "none: they may do nothing" in page
    assert "0 valid credentials" in page
    shown = json.loads(command("user", "show", "ann@example.org", "-o", "json").out)
    assert (shown["name"], shown["status"]) == ("ann@example.org", "active")
    assert command("user", "list", "-o", "csv").out.splitlines()[0].startswith("name,kind,groups")


def test_a_page_has_the_grants_of_groups_too(people: Plane, command: Command) -> None:
    del people
    command("grant", "add", "--group", "dev", "--role", "cluster-admin", "--cluster", "prod")
    command("grant", "add", "--user", "rob", "--role", "namespace-admin", "-c", "test", "-n", "web")
    lines = command("user", "show", "rob").out.splitlines()
    assert "  namespace-admin: namespace web of test" in lines
    assert "  cluster-admin: cluster prod (through group dev)" in lines


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "rob"], 5, "rob"),
        (["add", "system:admin"], 2, "system:"),
        (["add", "kubewitness:x"], 2, "kubewitness:"),
        (["add", "ann", "--group", "none"], 4, "no group none"),
        (["show", "none"], 4, "'none'"),
        (["change", "rob"], 2, "Say what to change"),
        (["change", "rob", "--remove-group", "ops"], 2, "rob is not in ops"),
        (["remove", "none", "--yes"], 4, "'none'"),
    ],
)
def test_what_is_refused(
    people: Plane, command: Command, arguments: list[str], code: int, said: str
) -> None:
    del people
    done = command("user", *arguments)
    assert (done.code, said in done.err) == (code, True), done.err


def test_change_keeps_what_is_not_named(people: Plane, command: Command) -> None:
    done = command("user", "change", "rob", "--add-group", "ops", "--reason", "on call")
    assert (done.code, done.out) == (0, "Changed rob, in dev, ops.\n"), done.err
    command("user", "change", "rob", "--remove-group", "dev", "--display-name", "")
    shown = json.loads(command("user", "show", "rob", "-o", "json").out)
    assert (shown["groups"], shown["displayName"]) == (["ops"], "")
    reasons = [event["detail"].get("reason") for event in people.events("user.change")]
    assert "on call" in reasons


def test_disable_and_enable(
    people: Plane, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    del people
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert command("user", "disable", "rob").code == 1
    assert command("user", "list", "-o", "name").out == "rob\n"
    done = command("user", "disable", "rob", "--reason", "on leave", "--yes")
    assert (done.code, "Disabled rob" in done.out) == (0, True)
    assert command("user", "list", "-o", "name").out == ""
    assert "on leave" in command("user", "show", "rob").out
    assert "disabled" in command("user", "list", "--all").out
    assert command("user", "enable", "rob").out == "Enabled rob.\n"
    assert command("user", "list", "-o", "name").out == "rob\n"


def test_remove_takes_everything_and_keeps_the_name(people: Plane, command: Command) -> None:
    command("grant", "add", "--user", "rob", "--role", "cluster-admin", "--cluster", "prod")
    done = command("kubeconfig", "issue", "rob", "-o", "-")
    assert done.code == 0, done.err
    gone = command("user", "remove", "rob", "--reason", "left", "--yes")
    assert (gone.code, gone.out) == (0, "")
    assert gone.err == (
        "Removed rob: 1 credential and 1 grant revoked. What was recorded of them stays.\n"
    )
    assert command("grant", "list", "--user", "rob", "-o", "name").out == ""
    assert command("kubeconfig", "list", "--user", "rob", "-o", "name").out == ""
    assert command("user", "add", "rob").code == 5
    assert people.events("user.remove")[-1]["detail"]["reason"] == "left"
