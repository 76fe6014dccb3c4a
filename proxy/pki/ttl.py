"""Lifetimes as people write them: `8h`, `30d`, `90m`, `1h30m`."""

import re
from typing import Final

from proxy.errors import InvalidInputError

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WHOLE: Final = re.compile(r"(?:[0-9]{1,9}[dhms])+", re.ASCII)
_PART: Final = re.compile(r"([0-9]+)([dhms])", re.ASCII)
_LONGEST: Final = 100 * 365 * 86_400


def parse_ttl(text: str) -> int:
    """`text` in seconds: whole numbers with units d, h, m, s, largest first, each at most once.

    Raises InvalidInputError saying what is wrong with it.
    """
    text = text.strip()
    hint = "Write numbers with units, such as 8h, 30d, 90m or 1h30m."
    if not _WHOLE.fullmatch(text):
        raise InvalidInputError(f"{text!r} is not a lifetime.", hint=hint)
    parts = _PART.findall(text)
    units = [unit for _, unit in parts]
    if units != sorted(set(units), key="dhms".index):
        raise InvalidInputError(
            f"{text!r} is not a lifetime: each unit once, the largest first.", hint=hint
        )
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < seconds <= _LONGEST:
        raise InvalidInputError(
            f"{text!r} is not a lifetime: it must be more than nothing and at most 100 years."
        )
    return seconds


def format_ttl(seconds: float) -> str:
    """`seconds` in the same form, without empty units: 5400 → `1h30m`; less than a second is `0s`."""
    left = int(seconds)
    text = ""
    for unit, size in _UNITS.items():
        number, left = divmod(left, size)
        text += f"{number}{unit}" if number else ""
    return text or "0s"
