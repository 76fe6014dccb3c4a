"""What `apply` changes, as people read a diff: `+` added, `~` changed, `-` taken away."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from proxy.cli.output import visible

_SIGNS: Final = {"added": "+", "changed": "~", "removed": "-"}
_KEPT: Final = frozenset({"createdAt", "createdBy", "id"})
"""Members that say nothing about what a person wrote."""

Change = Mapping[str, Any]


def kind_of(change: Change) -> str:
    """`added`, `changed`, `removed`, or `unchanged`."""
    if change.get("action") == "remove":
        # Also of what stays, disabled or revoked.
        return "removed"
    before, after = change.get("before"), change.get("after")
    if not before:
        return "added" if after else "unchanged"
    if not after:
        return "removed"
    return "unchanged" if before == after else "changed"


def taken_away(changes: Iterable[Change]) -> list[Change]:
    """Changes after which somebody has less: what is removed, and users who are disabled."""
    return [change for change in changes if kind_of(change) == "removed" or _disables(change)]


def _disables(change: Change) -> bool:
    before, after = change.get("before") or {}, change.get("after") or {}
    return before.get("status") == "active" and after.get("status") == "disabled"


def title(change: Change) -> str:
    """`user rob`, `grant user/rob namespace-admin cluster/prod`."""
    return f"{str(change['kind']).lower()} {change['name']}"


def diff(changes: Sequence[Change]) -> str:
    """Lines for people; what does not change is left out."""
    return "".join(visible(line) + "\n" for change in changes for line in _lines(change))


def _lines(change: Change) -> list[str]:
    kind = kind_of(change)
    if kind == "unchanged":
        return []
    lines = [f"{_SIGNS[kind]} {title(change)}"]
    before, after = change.get("before") or {}, change.get("after") or {}
    if kind == "removed":
        return lines
    for member in sorted({*before, *after} - _KEPT):
        old, new = _text(before.get(member)), _text(after.get(member))
        if kind == "added" and new and member != "name":
            lines.append(f"    {member}: {new}")
        elif kind == "changed" and old != new:
            lines.append(f"    {member}: {old or 'nothing'} → {new or 'nothing'}")
    return lines


def _text(value: object) -> str:
    """A value in one line: lists by commas, mappings by their members."""
    if value is None or value is False:
        return ""
    if isinstance(value, Mapping):
        parts = ((key, _text(item)) for key, item in value.items())
        return " ".join(f"{key}={text}" for key, text in parts if text)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_text, value))
    return "yes" if value is True else str(value)
