"""Times between people and the API: they write and read local time, the API speaks UTC."""

import re
from datetime import UTC, datetime
from typing import Final

from proxy.audit.moments import parse_moment, write_moment
from proxy.clock import SystemClock
from proxy.errors import InvalidInputError
from proxy.pki.ttl import format_ttl

_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")


def to_api(text: str | None, option: str) -> str | None:
    """What a person wrote after `option` as RFC 3339 in UTC.

    Accepts what `proxy.audit.moments` does, in local time, and `21:00` for today. Raises
    InvalidInputError.
    """
    if text is None:
        return None
    now = SystemClock.now()
    zone = datetime.fromtimestamp(now, UTC).astimezone().tzinfo or UTC
    if _CLOCK.fullmatch(text.strip()):
        text = f"{datetime.fromtimestamp(now, zone).date()}T{text.strip().zfill(5)}"
    try:
        micros = parse_moment(text, now, zone)
    except InvalidInputError as error:
        raise InvalidInputError(f"{option}: {error.message}", hint=error.hint) from error
    return write_moment(micros)


def local(text: str, *, short: bool = False) -> str:
    """An RFC 3339 time of the API in local time, to the second.

    With `short` the date is left out when it is today's, and the year when it is this one.
    """
    if not text:
        return ""
    when = parse(text).astimezone()
    now = datetime.fromtimestamp(SystemClock.now(), UTC).astimezone()
    if short and when.date() == now.date():
        return f"{when:%H:%M:%S}"
    if short and when.year == now.year:
        return f"{when:%m-%d %H:%M:%S}"
    return f"{when:%Y-%m-%d %H:%M:%S}"


def parse(text: str) -> datetime:
    """An RFC 3339 time of the API."""
    return datetime.fromisoformat(text)


def until(text: str) -> str:
    """An end in words: `2026-11-24 05:00:00 (8h)`, with what is left of it from now."""
    left = parse(text).timestamp() - SystemClock.now()
    # A second or two were spent on the way here; `7h59m58s` would only puzzle, as `29d23h59m` would.
    unit = 3600 if left >= 48 * 3600 else 60 if left >= 120 else 1
    rounded = round(left / unit) * unit
    return f"{local(text)} ({format_ttl(rounded)})" if left > 0 else f"{local(text)} (over)"
