"""One thing as a page, and as each document."""

import json

import pytest
import yaml

from proxy.cli.output import Column, Format
from proxy.cli.showing import counted, facts, show_one

ITEM = {"name": "rob", "groups": ["dev"]}
COLUMNS = (Column("name"), Column("groups"))


def shown(form: Format, capsys: pytest.CaptureFixture[str]) -> str:
    show_one(form, ITEM, "a page\n", COLUMNS, ("rob", "dev"))
    return capsys.readouterr().out


def test_forms(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(Format.TABLE, capsys) == "a page\n"
    assert json.loads(shown(Format.JSON, capsys)) == ITEM
    assert yaml.safe_load(shown(Format.YAML, capsys)) == ITEM
    assert shown(Format.NAME, capsys) == "rob\n"
    assert shown(Format.CSV, capsys) == "name,groups\nrob,dev\n"


def test_facts_leave_out_what_is_empty_and_hide_what_is_hostile() -> None:
    text = facts([("Name", "rob\x1b[2J"), ("Empty", ""), ("None", None), ("Members", 0)], indent=2)
    assert text == "  Name     rob\\x1b[2J\n  Members  0\n"


def test_counting() -> None:
    assert (counted(1, "grant"), counted(0, "grant")) == ("1 grant", "0 grants")
