"""Exports: what kube-apiserver's readers read, and nothing a spreadsheet would run."""

import csv
import io
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.event import User
from proxy.audit.index.export import (
    COLUMNS,
    csv_lines,
    event_list,
    json_lines,
    moment,
    yaml_documents,
)
from proxy.audit.index.rows import Row, row
from tests.audit.journals import a_call, outcome


def a_row(**given: object) -> Row:
    line = b'{"seq":7,"salt":"00","%b}' % outcome(a_call(**given))[1:]
    return row("w-0", 7, line)


def test_json_lines_are_audit_events() -> None:
    (line,) = json_lines([a_row()])
    event = json.loads(line)
    assert (event["kind"], event["apiVersion"]) == ("Event", "audit.k8s.io/v1")
    assert event["user"]["username"] == "alice"
    assert "salt" not in event
    assert "seq" not in event


def test_a_list_is_an_event_list() -> None:
    document = json.loads(event_list([a_row(), a_row()]))
    assert (document["kind"], len(document["items"])) == ("EventList", 2)


def test_an_unreadable_line_is_exported_as_text() -> None:
    (line,) = json_lines([Row("w-0", 1, "Unreadable", line=b'\xff{"')])
    assert json.loads(line) == {"kind": "Unreadable", "line": '\\xff{"'}


@pytest.mark.parametrize("lead", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_no_cell_begins_a_formula(lead: str) -> None:
    text = "".join(csv_lines([a_row(user=User(f"{lead}cmd|' /C calc'!A0"), user_agent=lead)]))
    _, cells = csv.reader(io.StringIO(text, newline=""))
    assert all(not cell.startswith(lead) for cell in cells if cell)


@given(user=st.text(st.characters(codec="utf-8")), agent=st.text(st.characters(codec="utf-8")))
def test_hostile_text_survives_every_form(user: str, agent: str) -> None:
    made = a_row(user=User(user), user_agent=agent)
    (line,) = json_lines([made])
    assert json.loads(line).get("userAgent", "") == agent
    assert json.loads(line)["user"]["username"] == user
    (document,) = yaml_documents([made])
    assert yaml.safe_load(document) == json.loads(line)
    rows = list(csv.reader(io.StringIO("".join(csv_lines([made])), newline="")))
    assert [len(cells) for cells in rows] == [len(COLUMNS)] * 2
    assert rows[1][COLUMNS.index("username")].lstrip("'") == made.username.lstrip("'")


def test_moments() -> None:
    assert moment(1_800_000_000_000_001) == "2027-01-15T08:00:00.000001Z"
    assert moment(0) == ""
