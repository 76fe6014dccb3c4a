"""YAML without surprises."""

import pytest
import yaml

from proxy.cli.strict_yaml import StrictLoader


def test_a_date_is_the_text_that_was_written() -> None:
    text = "{day: 2026-12-01, moment: 2026-12-01T00:00:00Z, number: 7, yes: no}"
    found = yaml.load(text, StrictLoader)
    assert found == {"day": "2026-12-01", "moment": "2026-12-01T00:00:00Z", "number": 7, True: False}  # fmt: skip
    # Others who use YAML in this process keep what they had.
    assert yaml.safe_load("2026-12-01").year == 2026


@pytest.mark.parametrize("text", ["a: 1\na: 2", "spec: {groups: [a], groups: [b]}"])
def test_a_key_given_twice_is_an_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="given twice"):
        yaml.load(text, StrictLoader)


def test_merging_is_no_key() -> None:
    text = "a: &a {x: 1}\nb: &b {y: 2}\nc: {<<: *a, z: 3}"
    assert yaml.load(text, StrictLoader)["c"] == {"x": 1, "z": 3}


def test_nothing_is_made_but_plain_values() -> None:
    with pytest.raises(yaml.YAMLError):
        yaml.load("!!python/object/apply:os.getcwd []", StrictLoader)
