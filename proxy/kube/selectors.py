"""Field and label selectors, as far as the description of a request depends on them.

A field selector can name the object of a list or watch. A label selector cannot, but when it does
not parse, kube-apiserver throws all list options away and with them that name, so its grammar
matters here as well (apimachinery, `pkg/fields/selector.go` and `pkg/labels/selector.go`).
"""

from __future__ import annotations

import re
from typing import Final

_INT64: Final = 1 << 63
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")

# One requirement of a label selector: `!key`, `key`, `key = value`, `key > 5`, `key in (a, b)`.
# Words are matched loosely here and checked one by one afterwards: this keeps the match linear.
_BLANK: Final = r"[ \t\r\n]*+"
_WORD: Final = r"[^ \t\r\n=!(),<>]++"
_REQUIREMENT: Final = re.compile(
    rf"{_BLANK}(?:!{_BLANK}(?P<absent>{_WORD})"
    rf"|(?P<key>{_WORD}){_BLANK}"
    rf"(?:(?P<equals>==|=|!=){_BLANK}(?P<value>{_WORD})?"
    rf"|[<>]{_BLANK}(?P<number>{_WORD})"
    rf"|(?<=[ \t\r\n])(?:in|notin){_BLANK}\((?P<values>[^=!()<>]*+)\))?"
    rf"){_BLANK}(?P<end>,|\Z)"
)
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DNS_SUBDOMAIN: Final = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.|\Z))+")
_FIELD_OPERATOR: Final = re.compile(r"!=|==?")
_FIELD_TERM: Final = re.compile(r"(?:[^\\,]|\\.)+\\?|\\", re.DOTALL)
_FIELD_VALUE: Final = re.compile(r"(?:[^\\,=]|\\[\\,=])*", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


class InvalidSelector(ValueError):  # noqa: N818 - reads as what it is, where it is caught
    """A selector that kube-apiserver does not parse."""


def required_value(selector: str, field: str) -> str:
    """The value that a field selector demands of a field, or an empty string.

    Terms are read in sorted order, so of two demands the smaller one counts.

    Raises:
        InvalidSelector: a term has no operator, or its value holds a bare `,`, `=` or a backslash
            before anything but these three.
    """
    found: str | None = None
    terms = _FIELD_TERM.findall(selector) if "\\" in selector else selector.split(",")
    for term in sorted(terms):
        if not term:
            continue
        operator = _FIELD_OPERATOR.search(term)
        if operator is None:
            raise InvalidSelector(f"field selector term {term!r} has no operator")
        value = term[operator.end() :]
        if not _FIELD_VALUE.fullmatch(value):
            raise InvalidSelector(f"field selector term {term!r} is not escaped properly")
        if found is None and operator[0] != "!=" and term[: operator.start()] == field:
            found = _ESCAPED.sub(r"\1", value)
    return found or ""


def is_path_segment(name: str) -> bool:
    """Whether a name can stand alone in a path (apimachinery `content.IsPathSegmentName`)."""
    return name not in {".", ".."} and "/" not in name and "%" not in name


def is_integer(text: str) -> bool:
    """Whether Go's `strconv.ParseInt(text, 10, 64)` accepts the text."""
    if (
        len(text) > 40
    ):  # Leading zeros are legal; twenty digits of them are not worth a big integer.
        text = re.sub(r"\A([+-]?)0+(?=[0-9])", r"\1", text)
        if len(text) > 40:
            return False
    return bool(_INTEGER.fullmatch(text)) and -_INT64 <= int(text) < _INT64


def is_label_selector(selector: str) -> bool:
    """Whether kube-apiserver parses a label selector; one that holds NUL never reaches it."""
    if not selector.strip(" \t\r\n"):
        return True
    position = 0
    while True:
        match = _REQUIREMENT.match(selector, position)
        if match is None or not _is_requirement(match):
            return False
        if not match["end"]:
            return True
        position = match.end()


def _is_requirement(match: re.Match[str]) -> bool:
    if not _is_label_key(match["absent"] or match["key"]):
        return False
    if match["number"] is not None:
        return _is_label_value(match["number"]) and is_integer(match["number"])
    if match["values"] is not None:
        return all(_is_label_value(value.strip(" \t\r\n")) for value in match["values"].split(","))
    return _is_label_value(match["value"] or "")


def _is_label_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and (prefix.endswith(".") or not _DNS_SUBDOMAIN.fullmatch(prefix)):
        return False
    return bool(_NAME.fullmatch(name))


def _is_label_value(value: str) -> bool:
    return not value or bool(_NAME.fullmatch(value))
