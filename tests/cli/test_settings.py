"""The settings by command: all of them, those that somebody set, and nothing secret."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from proxy.cli.settings_table import rows
from tests.cli.conftest import Command
from tests.control.plane import Plane


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    """One with settings of somebody's."""
    monkeypatch.setenv("KUBEWITNESS_DATABASE", "postgresql://kw:hunter2@db.example:5432/kw")
    monkeypatch.setenv("KUBEWITNESS_JOURNAL_DEADLINE", "2.5")
    monkeypatch.setenv("KUBEWITNESS_TLS_NAMES", "proxy.example,10.0.0.1")
    with Plane(tmp_path / "data") as running:
        yield running


def test_all_of_them_and_which_are_set(command: Command) -> None:
    done = command("settings")
    assert done.code == 0, done.err
    head, *lines = done.out.splitlines()
    assert head.split()[:3] == ["SETTING", "VALUE", "SET"]
    assert [line.split()[0] for line in lines] == [row.name for row in rows()]
    cells = {line.split()[0]: line.split()[1:3] for line in lines}
    assert cells["journal.deadline"] == ["2.5", "yes"]
    assert cells["database"] == ["db.example:5432", "yes"]
    assert cells["workers"][0] == "1"
    assert cells["workers"][1] != "yes"
    assert "hunter2" not in done.out + done.err


def test_only_what_somebody_set(command: Command) -> None:
    items = json.loads(command("settings", "--changed", "-o", "json").out)
    values = {item["name"]: item["value"] for item in items}
    assert values.pop("data_dir")
    assert values == {
        "database": "db.example:5432",
        "journal.deadline": 2.5,
        "tls.names": ["proxy.example", "10.0.0.1"],
    }
    assert "Nothing differs" in command("settings", "--changed", "upstream").err


def test_only_some(command: Command) -> None:
    found = command("settings", "journal", "-o", "name").out.split()
    assert found[0] == "journal.segment_bytes"
    assert all(name.startswith("journal.") for name in found)
    assert yaml.safe_load(command("settings", "workers", "-o", "yaml").out)[0]["value"] == 1
    assert "no such setting" in command("settings", "jour").err
