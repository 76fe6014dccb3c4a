"""Label and field selectors: from the query string to a yes or no about an object."""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from proxy.sandbox.failures import bad_request
from proxy.sandbox.objects import Object, labels_of

Matcher: TypeAlias = Callable[[Object], bool]

_SET: Final = re.compile(r"^([^\s!=,()]+)\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL: Final = re.compile(r"^([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)$")
_EXISTS: Final = re.compile(r"^(!?)\s*([^\s!=,()]+)$")
# A comma inside parentheses belongs to a set, not to the list of terms.
_COMMA: Final = re.compile(r",(?![^(]*\))")


def labels(text: str) -> Matcher:
    """A matcher for a label selector such as `app=web,tier in (a,b),!old`.

    Raises ApiError 400 when `text` is none.
    """
    terms = [_label_term(term.strip()) for term in _COMMA.split(text) if term.strip()]
    return lambda item: all(term(labels_of(item)) for term in terms)


def _label_term(term: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET.match(term):
        key, operator, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        return lambda have: (have.get(key) in values) == (operator == "in")
    if found := _EQUAL.match(term):
        key, operator, wanted = found.groups()
        return lambda have: (have.get(key) == wanted) != (operator == "!=")
    if found := _EXISTS.match(term):
        negated, key = found.groups()
        return lambda have: (key in have) != bool(negated)
    raise bad_request(f"unable to parse requirement: {term!r} is not a label selector")


def matches(selector: Object, have: dict[str, str]) -> bool:
    """Whether labels `have` satisfy a `LabelSelector` object. An empty selector matches everything."""
    wanted: dict[str, str] = selector.get("matchLabels") or {}
    if any(have.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression(rule, have) for rule in selector.get("matchExpressions") or [])


def _expression(rule: Object, have: dict[str, str]) -> bool:
    present = rule["key"] in have
    match rule["operator"]:
        case "In":
            return have.get(rule["key"]) in rule["values"]
        case "NotIn":
            return have.get(rule["key"]) not in rule["values"]
        case "Exists":
            return present
        case _:
            return not present


def fields(text: str) -> Matcher:
    """A matcher for a field selector such as `status.phase=Running,metadata.name!=web`.

    Any dotted path may be asked for; a real server knows only a few. Raises ApiError 400 when
    `text` is no field selector.
    """
    terms = [_field_term(term) for term in _split(text) if term]
    return lambda item: all(term(item) for term in terms)


def _split(text: str) -> list[str]:
    # A backslash escapes itself, the comma and the equals sign.
    parts, current, escaped = [], "", False
    for char in text:
        if escaped or char not in "\\,":
            current += f"\\{char}" if escaped else char
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            parts.append(current)
            current = ""
    return [*parts, current]


def _field_term(term: str) -> Matcher:
    found = re.match(r"^([\w.\-/]+)(==|=|!=)(.*)$", term)
    if not found:
        raise bad_request(f"invalid field selector: {term!r} has no =, == or !=")
    path, operator, wanted = found.groups()
    value = re.sub(r"\\(.)", r"\1", wanted)
    return lambda item: (_field(item, path) == value) != (operator == "!=")


def _field(item: Object, path: str) -> str:
    value: object = item
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
