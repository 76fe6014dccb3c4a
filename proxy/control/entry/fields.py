"""What bodies and queries are made of: texts with limits, moments to come, and pages of lists."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final, TypeVar

import msgspec

from proxy.audit.moments import parse_moment
from proxy.errors import InvalidInputError
from proxy.pki.ttl import parse_ttl

_PLAIN: Final = r"^[^\x00]*$"
"""PostgreSQL stores any text but one with a NUL in it."""
Text = Annotated[str, msgspec.Meta(max_length=512, pattern=_PLAIN)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=_PLAIN)]
Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=200)]
Reason = Annotated[
    str,
    msgspec.Meta(max_length=512, pattern=_PLAIN, description="Why; it stands in the record."),
]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="Most items of a page.")]
CursorText = Annotated[
    str,
    msgspec.Meta(
        max_length=2048,
        pattern=r"^[A-Za-z0-9_-]*$",
        description="`next` of the page before; empty at first.",
    ),
]

_MICROS: Final = 1_000_000
_UNITS: Final = ("d", "h", "m", "s")
_AT_ONCE: Final = 500
"""Items of a long list read at a time."""
Key = tuple[str, ...]
T = TypeVar("T")


class PagedQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which page of a list."""

    limit: Limit = 100
    cursor: CursorText = ""


class ReasonQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is removed."""

    reason: Reason = ""


def check_in_path(name: str) -> None:
    """Refuse a name that no path can hold: clients take it for a step, not a name. InvalidInputError."""
    if name in (".", ".."):
        raise InvalidInputError(f"{name!r} cannot stand in a path.", hint="Choose another name.")


def given(value: T | msgspec.UnsetType) -> T | None:
    """A member of a body that may be left out: None when it was."""
    return None if isinstance(value, msgspec.UnsetType) else value


def page(
    items: Sequence[T], key: Callable[[T], Key], query: PagedQuery
) -> tuple[tuple[T, ...], str]:
    """The page of `items` (in the order of `key`) that `query` asks for, and the cursor of the next.

    Pages go by the last key, not by a count: what is added or removed meanwhile shifts nothing.
    Raises InvalidInputError for a cursor that is not ours.
    """
    after = read_cursor(query.cursor)
    rest = [item for item in items if after is None or key(item) > after]
    shown = tuple(rest[: query.limit])
    return shown, write_cursor(key(shown[-1])) if len(rest) > len(shown) else ""


async def page_of_seen(
    read: Callable[..., Awaitable[Sequence[T]]],
    seen: Callable[[T], bool],
    place: Callable[[T], tuple[float, str]],
    query: PagedQuery,
) -> tuple[list[T], str]:
    """The page that `query` asks for of a long list, newest first, and the cursor of the next.

    `read(after=, limit=)` gives the list in parts, each from beyond a `place`: when something was
    made, and its id. What is not `seen` takes no room on the page. Raises InvalidInputError for a cursor that is not ours.
    """
    after, found = read_place(query.cursor), list[T]()
    while len(found) <= query.limit:
        some = await read(after=after, limit=_AT_ONCE)
        found += filter(seen, some)
        if len(some) < _AT_ONCE:
            break
        after = place(some[-1])
    shown = found[: query.limit]
    return shown, write_place(place(shown[-1])) if len(found) > len(shown) else ""


def write_cursor(key: Key) -> str:
    """Opaque text for a URL that says: behind `key`."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def read_cursor(text: str) -> Key | None:
    """What `write_cursor` made; None of an empty text. Raises InvalidInputError."""
    if not text:
        return None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=Key)
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidInputError(
            "This is not a cursor of ours.", hint="Start again without one."
        ) from error


def write_place(place: tuple[float, str]) -> str:
    """A cursor that says: beyond `place`, when something was made and its id."""
    made, identity = place
    # repr keeps every digit of a float.
    return write_cursor((repr(made), identity))


def read_place(text: str) -> tuple[float, str] | None:
    """What `write_place` made; None of an empty text. Raises InvalidInputError."""
    key = read_cursor(text)
    if key is None:
        return None
    try:
        made, identity = key
        return float(made), identity
    except ValueError as error:
        raise InvalidInputError(
            "This is not a cursor of ours.", hint="Start again without one."
        ) from error


def parse_end(text: str, now: float) -> float:
    """When something ends, in seconds since the epoch: RFC 3339, or a time from `now` such as `30d`.

    Raises InvalidInputError, also for what is past.
    """
    if text.strip().endswith(_UNITS):
        return now + parse_ttl(text)
    end = parse_moment(text, now) / _MICROS
    if end <= now:
        raise InvalidInputError(
            f"{text!r} is past.", hint="Give a time to come, or a lifetime such as 30d."
        )
    return end
