"""Paths and query strings as Go's net/url reads them.

kube-apiserver decides on what Go decoded. Python's urllib differs in ways that matter: it keeps
pairs that hold `;` or a broken percent escape, Go drops them. Text is carried as UTF-8 with
surrogate escapes, so that bytes which are not UTF-8 survive a round trip.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

MAX_PARAMETERS: Final = 10_000
"""Go 1.25.5 and later read no parameter at all from a query that holds more (net/url)."""


class BrokenEscape(ValueError):  # noqa: N818 - reads as what it is, where it is caught
    """A percent sign that two hexadecimal digits do not follow."""


def unescape_path(path: str) -> str:
    """The path after percent-decoding; `+` stays `+`.

    Raises:
        BrokenEscape: Go's server answers 400 to such a path.
    """
    if "%" not in path:
        return path
    if _BROKEN_ESCAPE.search(path):
        raise BrokenEscape("the path holds a percent sign without two hexadecimal digits")
    raw = unquote_to_bytes(path.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "surrogateescape")


def unescape_query(text: str) -> str:
    """One key or value of a query after decoding; `+` is a space.

    Raises:
        BrokenEscape: Go drops the pair.
    """
    if "+" in text:
        text = text.replace("+", " ")
    return unescape_path(text)


def first_values(query: str, wanted: frozenset[str]) -> dict[str, str]:
    """The first value of each wanted parameter, as `url.Values.Get` would give it.

    A pair with `;` in it or with a broken escape does not exist for Go. A query of more than
    `MAX_PARAMETERS` pairs has no parameters at all.
    """
    values: dict[str, str] = {}
    if query.count("&") >= MAX_PARAMETERS:
        return values
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key not in wanted:
            if "%" not in key and "+" not in key:
                continue
            try:
                key = unescape_query(key)
            except BrokenEscape:
                continue
            if key not in wanted:
                continue
        if key in values or ";" in pair:
            continue
        try:
            values[key] = unescape_query(value)
        except BrokenEscape:
            continue
    return values
