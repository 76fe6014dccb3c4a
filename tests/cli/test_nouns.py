"""Nouns are imported when they are used, and all of them are there when somebody looks."""

import subprocess
import sys
from typing import Any

import pytest
import typer

from proxy.cli.app import app
from proxy.cli.nouns import NOUNS

LOADED = "import sys; from proxy.cli.app import run; code = run({arguments!r}); print(*sorted(sys.modules), file=sys.stderr); sys.exit(code)"  # fmt: skip


def modules_of(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(arguments=list(arguments))],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stderr.split())


def test_a_noun_brings_only_itself() -> None:
    found = modules_of("grant", "list", "--help")
    assert "proxy.cli.grant" in found
    for other in ("proxy.cli.serve", "proxy.settings", "msgspec", "yaml", "aiohttp", "sqlalchemy"):
        assert other not in found, other


def test_the_version_needs_none() -> None:
    found = modules_of("--version")
    assert not {f"proxy.cli.{module}" for modules in NOUNS.values() for module in modules} & found


def test_all_are_there() -> None:
    commands = typer.main.get_group(app).commands
    assert list(commands) == list(NOUNS)
    assert len(commands) == len(NOUNS)
    assert all(commands[name].name == name for name in NOUNS)
    assert commands["credential"].hidden
    assert commands["worker"].hidden
    assert not commands["user"].hidden
    assert "nonsense" not in commands
    with pytest.raises(KeyError):
        commands["nonsense"]


def test_verbs_of_a_second_module_are_there() -> None:
    commands: Any = typer.main.get_group(app).commands
    assert "investigate" in commands["user"].commands
    assert {"add", "issue", "use"} <= set(commands["context"].commands)
