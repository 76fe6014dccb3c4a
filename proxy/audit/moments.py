"""Moments as people write them, in µs since the epoch."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from proxy.clock import rfc3339
from proxy.errors import InvalidInputError

_MICROS: Final = 1_000_000
_AGO: Final = re.compile(r"-?((?:\d+[smhdw])+)")
_PART: Final = re.compile(r"(\d+)([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_moment(text: str, now: float, zone: tzinfo = UTC) -> int:
    """Read `text` as a moment: µs since the epoch.

    Accepts RFC 3339 and its shorter ISO 8601 forms (`2026-11-23`, `2026-11-23T21:00`), a time ago
    (`1h`, `-90m`, `1d12h`), `now`, `today` and `yesterday` (midnight). Without a zone it is in
    `zone`. `now` is wall time in seconds. Raises InvalidInputError.
    """
    word = text.strip()
    present = datetime.fromtimestamp(now, UTC)
    midnight = present.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    words = {"now": present, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    try:
        if word.lower() in words:
            return _micros(words[word.lower()])
        if ago := _AGO.fullmatch(word):
            seconds = sum(int(n) * _SECONDS[unit] for n, unit in _PART.findall(ago[1]))
            return _micros(present - timedelta(seconds=seconds))
        moment = datetime.fromisoformat(word)
        return _micros(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{text!r} is not a time.",
            hint="Write 2026-11-23T21:00:00Z, 2026-11-23, 1h (ago), today or yesterday.",
        ) from error


def write_moment(micros: int) -> str:
    """`micros` since the epoch in RFC 3339, as `parse_moment` reads it."""
    return rfc3339(micros / _MICROS)


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
