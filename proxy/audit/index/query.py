"""What can be asked of the audit log: filters, and where a page of answers ends.

Pure. `matches` is the meaning of a filter; `proxy.audit.index.selects` says the same in SQL, and a
property test holds the two together.
"""

import base64
import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from proxy.audit.index.rows import EVENT, Row, group_needle, source_key
from proxy.audit.resources import Resource, parse_resource
from proxy.errors import InvalidInputError

_STATUS: Final = re.compile(r"(?:(?P<op>>=|<=|>|<|=)?\s*(?P<code>\d{1,3})|(?P<hundred>[1-5])xx)")
_HIGHEST: Final = 999
ANY: Final = "*"
SEARCHED: Final = ("uri", "user_agent", "name", "username")
"""Where free text is looked for."""


class Within(msgspec.Struct, frozen=True):
    """What somebody may see: what any of these members allows, and nothing else.

    Only what all events of a call have in common counts, so that all of them are seen, or none.
    """

    user: str
    """Sees the calls they made themselves, also as somebody else (`--as`), and their own acts."""
    clusters: tuple[str, ...] = ()
    """All calls to these."""
    namespaces: tuple[tuple[str, str], ...] = ()
    """(cluster, namespace): the calls about something in it."""
    calls: bool = False
    """Every call, those that reached no cluster included."""
    system: bool = False
    """What is no call: administrative acts, failed connections, lines that cannot be read."""


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events to show. Every member that is given must hold; in a list, any one of it.

    Texts match exactly, or with a trailing `*` by what they begin with.
    """

    since: int | None = None
    """Not before, µs since the epoch."""
    until: int | None = None
    """Before, µs since the epoch."""
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Exactly, without `*`."""
    clusters: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    """As `proxy.audit.resources.parse_resource` reads them."""
    names: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    """`403`, `4xx`, `>=400`, `<400`; an event without a status matches none."""
    sources: tuple[str, ...] = ()
    """Addresses and networks."""
    tools: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    """Serials."""
    suspicious: tuple[str, ...] = ()
    """Flags, exactly; `*` for any."""
    text: str = ""
    """Somewhere in the URI, user agent, object name or user; ASCII letters in either case."""
    audit_ids: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    """Of administrative acts, such as `grant.add`."""
    targets: tuple[str, ...] = ()
    """Of administrative acts: what they were about."""
    reasons: tuple[str, ...] = ()
    """Of a call's status, such as `Forbidden`; of an administrative act its outcome: `ok`,
    `requested`, `denied: …`, `failed: …`."""
    kinds: tuple[str, ...] = ()
    """`Event`, `SystemEvent`, `ConnectionEvent`."""
    include_noise: bool = False
    """Discovery and health probes too."""
    open_only: bool = False
    """Only calls that have not ended."""
    within: Within | None = None
    """Only of what this allows; None means everything."""


TEXTS: Final = {
    "users": "username",
    "clusters": "cluster",
    "namespaces": "namespace",
    "names": "name",
    "verbs": "verb",
    "classes": "call_class",
    "tools": "tool",
    "sessions": "session",
    "commands": "command",
    "credentials": "credential",
    "audit_ids": "audit_id",
    "actions": "action",
    "targets": "target",
    "reasons": "reason",
    "kinds": "kind",
}
"""Members of a filter that are compared with one column each."""


class Parsed(NamedTuple):
    """A filter's members that need reading before they can be compared."""

    texts: tuple[tuple[str, frozenset[str], tuple[str, ...]], ...]
    """(column, exact values, beginnings)"""
    groups: tuple[str, ...]
    resources: tuple[Resource, ...]
    codes: tuple[tuple[int, int], ...]
    """Inclusive ranges."""
    networks: tuple[tuple[str, str], ...]
    """Inclusive ranges of `Row.source_key`."""
    flags: tuple[str, ...]
    """As they stand in `Row.suspicious`; a newline is in that of each flagged event."""
    text: str


@lru_cache(maxsize=128)
def parse(given: Filter) -> Parsed:
    """Read a filter. Raises InvalidInputError naming what cannot be understood."""
    texts = []
    for member, column in TEXTS.items():
        values: tuple[str, ...] = getattr(given, member)
        if values:
            exact = frozenset(_plain(value) for value in values if not value.endswith("*"))
            prefixes = tuple(_plain(value[:-1]) for value in values if value.endswith("*"))
            texts.append((column, exact, prefixes))
    return Parsed(
        tuple(texts),
        tuple(group_needle(group) for group in given.groups),
        tuple(parse_resource(resource) for resource in given.resources),
        tuple(_codes(status) for status in given.status),
        tuple(_network(source) for source in given.sources),
        tuple("\n" if flag == ANY else group_needle(flag) for flag in given.suspicious),
        _ascii_lower(_plain(given.text)),
    )


def matches(row: Row, given: Filter) -> bool:
    """Whether `row` is one that `given` asks for.

    Of a call, any event may match; a search shows only the last one.
    """
    wanted = parse(given)
    return (
        (given.within is None or visible(row, given.within))
        and (given.since is None or row.at >= given.since)
        and (given.until is None or row.at < given.until)
        and (given.include_noise or not row.noise)
        and (not given.open_only or not row.terminal)
        and all(
            _text(getattr(row, column), exact, prefixes) for column, exact, prefixes in wanted.texts
        )
        and _any(needle in row.user_groups for needle in wanted.groups)
        and _any(_resource(row, resource) for resource in wanted.resources)
        and _any(row.code is not None and low <= row.code <= high for low, high in wanted.codes)
        and _any(low <= row.source_key <= high for low, high in wanted.networks)
        and _any(needle in row.suspicious for needle in wanted.flags)
        and _free_text(row, wanted.text)
    )


def visible(row: Row, within: Within) -> bool:
    """Whether `row` is one that `within` allows. Names that are empty allow nothing."""
    if row.username and row.username == within.user:
        return True
    if row.kind != EVENT:
        return within.system
    return (
        within.calls
        or (row.cluster != "" and row.cluster in within.clusters)
        or (
            "" not in (row.cluster, row.namespace)
            and (row.cluster, row.namespace) in within.namespaces
        )
    )


def _any(found: Iterable[bool]) -> bool:
    """Whether any holds, or none was asked for."""
    answers = list(found)
    return not answers or any(answers)


def _text(value: str, exact: frozenset[str], prefixes: tuple[str, ...]) -> bool:
    return value in exact or value.startswith(prefixes)


def _resource(row: Row, wanted: Resource) -> bool:
    return (
        row.resource == wanted.resource
        and wanted.api_group in (None, row.api_group)
        and wanted.subresource in (None, row.subresource)
    )


def _free_text(row: Row, wanted: str) -> bool:
    return not wanted or any(wanted in _ascii_lower(getattr(row, column)) for column in SEARCHED)


def _plain(value: str) -> str:
    """As a column holds it; see `rows`."""
    return value.replace("\0", "\\0")


def _ascii_lower(value: str) -> str:
    """As SQLite's LIKE folds case: A to Z and nothing else."""
    return value.lower() if value.isascii() else re.sub("[A-Z]", lambda m: m[0].lower(), value)


def _codes(text: str) -> tuple[int, int]:
    found = _STATUS.fullmatch(text.strip().lower())
    if found is None:
        raise InvalidInputError(f"{text!r} is not a status.", hint="Write 403, 4xx, >=400 or <400.")
    if found["hundred"]:
        low = int(found["hundred"]) * 100
        return low, low + 99
    code = int(found["code"])
    return {
        ">=": (code, _HIGHEST),
        ">": (code + 1, _HIGHEST),
        "<=": (1, code),
        "<": (1, code - 1),
    }.get(found["op"] or "=", (code, code))


def _network(text: str) -> tuple[str, str]:
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise InvalidInputError(
            f"{text!r} is not an address or a network.",
            hint="Write 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32.",
        ) from error
    return source_key(str(network[0])), source_key(str(network[-1]))


class Cursor(NamedTuple):
    """The last row of a page; the next page begins behind it."""

    at: int
    writer: str
    seq: int

    def __str__(self) -> str:
        """Opaque text for a URL."""
        return base64.urlsafe_b64encode(msgspec.json.encode(tuple(self))).decode().rstrip("=")

    @classmethod
    def of(cls, row: Row) -> "Cursor":
        """The cursor of a page that ends with `row`."""
        return cls(row.at, row.writer, row.seq)

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read what `str` made. Raises InvalidInputError when it is something else."""
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return cls(*msgspec.json.decode(data, type=tuple[int, str, int]))
        except (ValueError, msgspec.DecodeError) as error:
            raise InvalidInputError(
                "This is not a cursor of ours.", hint="Start again without one."
            ) from error
