"""Text from the audit log, made harmless for whoever shows it.

Whoever can send a user agent writes into the log. A terminal would act on escape sequences, a
reader would be fooled by hidden or reversed text, a spreadsheet would run a formula.
"""

import re
import unicodedata
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_PLAIN: Final = re.compile(r"[\x20-\x7e]*")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a terminal acts on, or that nobody can see."""
_SPACES: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def hidden(char: str) -> bool:
    """Whether a terminal acts on `char`, or a reader cannot see it."""
    return unicodedata.category(char) in _HIDDEN


def visible(text: object) -> str:
    r"""`text` with every hidden character written as an escape (`\x1b`)."""
    whole = str(text)
    if _PLAIN.fullmatch(whole):
        return whole
    return "".join(_escape(char) if hidden(char) else char for char in whole)


def _escape(char: str) -> str:
    number = ord(char)
    if char in _SPACES:
        return _SPACES[char]
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def csv_cell(value: object) -> str:
    """A cell that a spreadsheet shows instead of running it, with hidden characters escaped."""
    text = visible(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
