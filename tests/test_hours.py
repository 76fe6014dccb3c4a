"""Working hours: what they cover, in which zone, and which texts are refused."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from proxy.hours import WorkingHours


def moment(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("Mon-Fri 08:00-18:00", "2026-11-27T08:00", "2026-11-27T18:00"),
        ("Mon-Fri 08:00-18:00", "2026-11-27T17:59", "2026-11-28T12:00"),  # a Saturday
        ("08:00-18:00", "2026-11-23T08:00", "2026-11-22T12:00"),
        ("sat 08:00-18:00 utc", "2026-11-28T12:00", "2026-11-27T12:00"),
        ("Sat-Mon 08:00-18:00", "2026-11-23T12:00", "2026-11-24T12:00"),
        ("Mon-Fri 22:00-06:00", "2026-11-28T05:59", "2026-11-28T22:00"),  # Friday's night ends
        ("Mon-Fri 22:00-06:00", "2026-11-27T22:00", "2026-11-23T05:59"),  # Sunday's is none
        ("Mon-Sun 00:00-24:00", "2026-11-29T23:59", None),
    ],
)
def test_what_they_cover(hours: str, inside: str, outside: str | None) -> None:
    found = WorkingHours.parse(hours)
    assert found.cover(moment(inside))
    assert outside is None or not found.cover(moment(outside))


@pytest.mark.parametrize("day", ["2026-07-01", "2026-12-01"])
def test_they_are_those_of_the_place_in_summer_and_in_winter(day: str) -> None:
    found = WorkingHours.parse("Mon-Fri 08:00-18:00 Europe/Berlin")
    assert found.cover(moment(f"{day}T08:00", "Europe/Berlin"))
    assert not found.cover(moment(f"{day}T07:59", "Europe/Berlin"))
    assert not found.cover(moment(f"{day}T18:00", "Europe/Berlin"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("always", "is not written like"),
        ("Mon-Fri 8-18", "is not written like"),
        ("Mon-Fry 08:00-18:00", "'Fry' is not a day"),
        ("08:60-18:00", "not a time of day"),
        ("08:00-25:00", "not a time of day"),
        ("08:00-08:00", "begins when it ends"),
        ("08:00-18:00 Mars/Olympus", "'Mars/Olympus' is not known here"),
        ("08:00-18:00 ../../etc/passwd", "is not known here"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        WorkingHours.parse(text)
