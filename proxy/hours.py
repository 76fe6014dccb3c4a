"""Working hours as people write them: `Mon-Fri 08:00-18:00 Europe/Berlin`."""

import re
import zoneinfo
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM: Final = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? +)?"
    r"(?P<begin>\d{2}:\d{2})-(?P<end>\d{2}:\d{2})(?: +(?P<zone>\S+))?",
    re.ASCII | re.IGNORECASE,
)
_DAY: Final = 24 * 60
"""Minutes."""


class WorkingHours:
    """When people work."""

    def __init__(self, days: frozenset[int], begin: int, end: int, zone: tzinfo) -> None:
        self._days = days
        self._begin = begin
        self._end = end
        self._zone = zone
        self._cover = lru_cache(maxsize=64)(self._covers_minute)

    @classmethod
    def parse(cls, text: str) -> "WorkingHours":
        """Read `[DAY[-DAY]] HH:MM-HH:MM [ZONE]`; Monday to Friday, and UTC, when it does not say.

        An end before the beginning is on the next day. Raises ValueError saying what is wrong.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is not written like `Mon-Fri 08:00-18:00 Europe/Berlin`")
        first = _day(found["first"] or "mon")
        last = _day(found["last"] or found["first"] or "fri")
        days = frozenset((first + more) % 7 for more in range((last - first) % 7 + 1))
        begin, end = _minutes(found["begin"]), _minutes(found["end"])
        if begin == end:
            raise ValueError(f"{text!r} begins when it ends")
        return cls(days, begin, end, _zone(found["zone"] or "UTC"))

    def cover(self, now: float) -> bool:
        """Whether wall time `now` (seconds since the epoch) is in them."""
        return self._cover(int(now // 60))

    def _covers_minute(self, minute: int) -> bool:
        local = datetime.fromtimestamp(minute * 60, self._zone)
        at, day = local.hour * 60 + local.minute, local.weekday()
        if self._begin < self._end:
            return day in self._days and self._begin <= at < self._end
        began_today = day in self._days and at >= self._begin
        return began_today or ((day - 1) % 7 in self._days and at < self._end)


def _day(name: str) -> int:
    if name.lower() not in _DAYS:
        raise ValueError(f"{name!r} is not a day such as Mon")
    return _DAYS.index(name.lower())


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    found = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or found > _DAY:
        raise ValueError(f"{text!r} is not a time of day")
    return found


def _zone(name: str) -> tzinfo:
    if name.upper() == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"the time zone {name!r} is not known here") from error
