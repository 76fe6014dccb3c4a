"""Times as people write and read them."""

from datetime import UTC, datetime, timedelta

import pytest

from proxy.cli.moments import local, parse, to_api, until
from proxy.clock import SystemClock, rfc3339
from proxy.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "ago"),
    [("24h", timedelta(hours=24)), ("90m", timedelta(minutes=90)), ("now", timedelta())],
)
def test_ago(text: str, ago: timedelta) -> None:
    given = to_api(text, "--since")
    assert given is not None
    assert abs(datetime.fromtimestamp(SystemClock.now(), UTC) - ago - parse(given)) < timedelta(
        seconds=30
    )


def test_a_time_without_a_zone_is_local() -> None:
    given = to_api("2026-11-23 21:00", "--since")
    assert given is not None
    assert parse(given) == datetime(2026, 11, 23, 21).astimezone()
    assert to_api("2026-11-23T21:00:00Z", "--since") == "2026-11-23T21:00:00.000000Z"


@pytest.mark.parametrize("text", ["9:05", "21:00", "21:00:30"])
def test_a_time_of_day_is_todays(text: str) -> None:
    given = to_api(text, "--since")
    assert given is not None
    when = parse(given).astimezone()
    assert when.date() == datetime.fromtimestamp(SystemClock.now(), UTC).astimezone().date()
    assert f"{when:%H:%M}" == text[:5].zfill(5)


@pytest.mark.parametrize("text", ["soon", "25:00", "", "2026-13-01"])
def test_what_is_no_time_names_the_option(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--until"):
        to_api(text, "--until")


def test_shown_times_are_as_short_as_they_can_be() -> None:
    assert len(local(rfc3339(SystemClock.now()), short=True)) == len("21:00:00")
    assert local("2020-02-29T12:00:00Z", short=True).startswith("2020-02-29 ")
    assert local("") == ""


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        (8 * 3600, "(8h)"),
        (8 * 3600 - 2, "(8h)"),
        (30 * 86400 - 90, "(30d)"),
        (30.9, "s)"),
        (-5, "(over)"),
    ],
)
def test_validity_is_said_in_words(seconds: float, left: str) -> None:
    assert until(rfc3339(SystemClock.now() + seconds)).endswith(left)
