"""What apply shows."""

from typing import Any

from proxy.cli.apply_diff import diff, kind_of, taken_away

ADDED: dict[str, Any] = {
    "kind": "User", "name": "rob", "before": None,
    "after": {"name": "rob", "kind": "person", "groups": ["dev", "ops"], "displayName": "", "createdAt": "x"},
}  # fmt: skip
CHANGED: dict[str, Any] = {
    "kind": "Project", "name": "shop",
    "before": {"places": [{"cluster": "prod", "namespaces": []}], "description": "x"},
    "after": {"places": [{"cluster": "prod", "namespaces": ["web"]}], "description": ""},
}  # fmt: skip
REMOVED: dict[str, Any] = {"kind": "Grant", "name": "user/rob admin organization", "before": {"role": "admin"}, "after": None}  # fmt: skip
SAME: dict[str, Any] = {
    "kind": "Group",
    "name": "dev",
    "before": {"name": "dev"},
    "after": {"name": "dev"},
}
DISABLED: dict[str, Any] = {"kind": "User", "name": "eve", "before": {"status": "active"}, "after": {"status": "disabled"}}  # fmt: skip


def test_the_lines() -> None:
    assert diff([ADDED, CHANGED, SAME, REMOVED]) == (
        "+ user rob\n"
        "    groups: dev, ops\n"
        "    kind: person\n"
        "~ project shop\n"
        "    description: x → nothing\n"
        "    places: cluster=prod → cluster=prod namespaces=web\n"
        "- grant user/rob admin organization\n"
    )


def test_what_is_taken_away() -> None:
    changes = [ADDED, CHANGED, REMOVED, SAME, DISABLED]
    assert taken_away(changes) == [REMOVED, DISABLED]
    assert [kind_of(change) for change in changes] == ["added", "changed", "removed", "unchanged", "changed"]  # fmt: skip


def test_names_cannot_move_the_cursor() -> None:
    assert "\x1b" not in diff([{**REMOVED, "name": "\x1b[2J"}])
