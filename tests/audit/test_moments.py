"""Moments as people write them, and as they are written back."""

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.moments import parse_moment, write_moment
from proxy.errors import InvalidInputError

NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""


@given(st.integers(0, 4_000_000_000_000_000))
def test_what_is_written_is_read(micros: int) -> None:
    assert parse_moment(write_moment(micros), NOW) == micros


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("now", NOW),
        ("1h", NOW - 3600),
        ("-90m", NOW - 5400),
        ("1d12h", NOW - 129_600),
        ("today", NOW - 8 * 3600),
        ("yesterday", NOW - 32 * 3600),
        ("2027-01-15", NOW - 8 * 3600),
        ("2027-01-15T09:00:00+01:00", NOW),
    ],
)
def test_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_moment(text, NOW) == seconds * 1_000_000


def test_without_a_zone_it_is_in_the_one_that_is_given() -> None:
    east = timezone(timedelta(hours=2))
    assert parse_moment("2027-01-15T10:00", NOW, east) == NOW * 1_000_000
    assert parse_moment("today", NOW, east) == (NOW - 10 * 3600) * 1_000_000


@pytest.mark.parametrize("text", ["", "soon", "1x", "2027-13-01", "99999999999999d", "--1h"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a time"):
        parse_moment(text, NOW)
