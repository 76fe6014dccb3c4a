"""Projects by command: clusters, whole or by namespaces."""

import json

import pytest

from tests.cli.conftest import Command
from tests.control.plane import Plane


@pytest.fixture
def shop(prod: Plane, command: Command) -> Plane:
    done = command("project", "add", "shop", "-c", "prod", "--description", "sells")
    assert (done.code, done.out) == (0, "Added project shop: prod.\n"), done.err
    return prod


def places(command: Command) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(command("project", "show", "shop", "-o", "json").out)["places"]  # fmt: skip
    return found


def test_clusters_come_and_go(shop: Plane, command: Command) -> None:
    done = command("project", "change", "shop", "--add-cluster", "test:web,api")
    assert done.out == "Changed project shop: prod, test:api,web.\n", done.err
    command("project", "change", "shop", "--add-cluster", "test:web")
    assert places(command)[1] == {"cluster": "test", "namespaces": ["web"]}
    assert command("project", "change", "shop", "--remove-cluster", "prod", "--yes", "--reason", "moved").code == 0  # fmt: skip
    assert [place["cluster"] for place in places(command)] == ["test"]
    assert shop.events("project.change")[-1]["detail"]["reason"] == "moved"
    assert "test:web" in command("project", "list").out


def test_a_page_says_who_was_granted_what(shop: Plane, command: Command) -> None:
    del shop
    command("user", "add", "ann")
    command("grant", "add", "--user", "ann", "--role", "project-admin", "--project", "shop")
    page = command("project", "show", "shop").out
    assert "sells" in page
    assert "  project-admin: project shop (to user ann)\n" in page
    assert command("project", "remove", "shop", "--yes").code == 5
    command("grant", "revoke", "--project", "shop", "--yes")
    assert command("project", "remove", "shop", "--yes").err == "Removed project shop.\n"
    assert "No projects yet" in command("project", "list").err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "shop"], 5, "shop"),
        (["add", "Shop!"], 2, "Shop!"),
        (["add", "web", "-c", "none"], 4, "'none'"),
        (["add", "web", "-c", "prod:"], 2, "not a place"),
        (["change", "shop"], 2, "Say what to change"),
        (["change", "shop", "--remove-cluster", "test", "--yes"], 2, "no cluster 'test'"),
        (["show", "none"], 4, "'none'"),
    ],
)
def test_what_is_refused(
    shop: Plane, command: Command, arguments: list[str], code: int, said: str
) -> None:
    del shop
    done = command("project", *arguments)
    assert (done.code, said in done.err) == (code, True), done.err
