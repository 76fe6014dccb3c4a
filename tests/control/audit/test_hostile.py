"""Text that would do harm, made visible."""

import unicodedata

import pytest

from proxy.control.audit.hostile import csv_cell, hidden, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("alice", "alice"),
        ("Zoë 名前 🚀", "Zoë 名前 🚀"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\tb\r\n", "a\\tb\\r\\n"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp", "\\u202egnp"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_every_character_that_is_shown_is_one_that_can_be_seen() -> None:
    for number in range(0x110000):
        char = chr(number)
        if not hidden(char):
            assert unicodedata.category(char)[0] in "LMNPSZ"


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_spreadsheets_see_no_formula(formula: str) -> None:
    assert csv_cell(formula)[0] not in "=+-@\t"
