"""Looks at the log by command: the newest of what there is, and what a person must know of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxy.cli.output import say

if TYPE_CHECKING:
    from proxy.cli.client import Client

PAGE: Final = 500
"""Items asked for at a time. Each time is a look of its own in the record."""


class Found(NamedTuple):
    """What a look found."""

    items: list[dict[str, Any]]
    more: bool
    """Whether there are others, beyond the limit."""
    complete: bool
    """False while the index has not caught up with the journals."""


def look(
    client: "Client", path: str, query: Mapping[str, object], limit: int, *, size: int = PAGE
) -> Found:
    """The first `limit` items of a list of the log, `size` at a time."""
    items: list[dict[str, Any]] = []
    cursor, complete = "", True
    while len(items) < limit:
        asked = {**query, "limit": min(size, limit - len(items)), "cursor": cursor}
        page = client.get(path, asked)
        items += page["items"]
        complete = complete and page["complete"]
        cursor = page["next"]
        if not cursor:
            break
    return Found(items, bool(cursor), complete)


def say_what_is_missing(found: Found, limit: int, what: str = "calls") -> None:
    """Tell a person that the index is behind, and that there are more than `limit`."""
    if not found.complete:
        say_behind(what)
    if found.more:
        say(
            f"There are more; --limit {limit * 10} shows them, --since and the other filters fewer."
        )


def say_behind(what: str = "calls") -> None:
    """Tell a person that the index has not caught up with the journals."""
    say(f"The index is behind; the latest {what} may be missing. Look again in a moment.")
