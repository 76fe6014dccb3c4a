"""Groups by command."""

import json

import pytest

from tests.cli.conftest import Command
from tests.control.plane import Plane


def test_add_list_show_change_remove(prod: Plane, command: Command) -> None:
    assert "No groups yet" in command("group", "list").err
    done = command("group", "add", "dev", "--description", "builds")
    assert (done.code, done.out) == (0, "Added group dev.\n"), done.err
    command("user", "add", "rob", "--group", "dev")
    command("grant", "add", "--group", "dev", "--role", "cluster-admin", "--cluster", "prod")
    page = command("group", "show", "dev").out
    assert "1 member     rob" in page
    assert "  cluster-admin: cluster prod\n" in page
    command("group", "change", "dev", "--description", "builds all", "--reason", "asked")
    listed = json.loads(command("group", "list", "-o", "json").out)
    assert [(item["name"], item["members"], item["description"]) for item in listed] == [("dev", ["rob"], "builds all")]  # fmt: skip

    used = command("group", "remove", "dev", "--yes")
    assert used.code == 5, used.err
    grant = command("grant", "list", "--group", "dev", "-o", "name").out.strip()
    command("grant", "revoke", grant, "--yes")
    done = command("group", "remove", "dev", "--yes", "--reason", "merged")
    assert (done.code, done.err) == (0, "Removed group dev.\n")
    assert prod.events("group.remove")[-1]["detail"]["reason"] == "merged"


@pytest.mark.parametrize("name", ["system:masters", "kubewitness:admin", ""])
def test_names_that_groups_cannot_have(prod: Plane, command: Command, name: str) -> None:
    del prod
    assert command("group", "add", name).code == 2


def test_who_has_the_group_in_a_certificate_is_named(prod: Plane, command: Command) -> None:
    prod.credential("alice")
    prod.credential("bob")
    done = command("group", "add", "dev")
    assert "Grants decide from now on what alice, bob may do" in done.err
    assert "`kubewitness grant add --group dev --role ROLE --cluster C`" in done.err
    assert command("group", "add", "ops").err == ""
