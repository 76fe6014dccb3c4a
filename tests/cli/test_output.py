"""Tables on terminals of any width and in pipes, and text that cannot do any harm."""

import json

import pytest
import yaml

from proxy.cli.output import Column, table, to_csv, to_json, to_yaml, visible
from proxy.control.audit.hostile import hidden

HOSTILE = [
    "\x1b[2J", "\x1b]52;c;AAAA\x07", "\x9b31m", "a\rb", "a\nb", "a\tb", "\u202egnp.exe", "\u2066x",
    "\u200bzero", "\ufeff", "\u2028", "\x00", "\x7f", "\ud800", "\U000e0041",
]  # fmt: skip
HARMLESS = ["alice", "Zoë", "名前", "🚀", "a b", "e\u0301"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_an_escape_everywhere(text: str) -> None:
    forms = [
        visible(text),
        table([Column("x")], [[text]]),
        to_json({"x": text}),
        to_csv(["x"], [[text]]),
        *([] if text == "\ud800" else [to_yaml({"x": text})]),
    ]
    for form in forms:
        shown = form.replace("\n", "")
        assert shown.isprintable() or all(not hidden(char) for char in shown)


@pytest.mark.parametrize("text", HARMLESS)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert visible(text) == text
    assert text in to_json({"x": text})
    assert text in to_yaml({"x": text})


@pytest.mark.parametrize("text", [*HOSTILE[:-2], *HARMLESS])
def test_documents_keep_the_text(text: str) -> None:
    assert json.loads(to_json({"x": text})) == {"x": text}
    assert yaml.safe_load(to_yaml({"x": text})) == {"x": text}


def test_wide_characters_count_as_two() -> None:
    lines = table([Column("a"), Column("b")], [["名前", "x"], ["ab", "y"]]).splitlines()
    assert lines[1] == "名前  x"
    assert lines[2] == "ab    y"
