"""Filters as SQL, for both databases: the same meaning as `proxy.audit.index.query.matches`.

What a search shows comes in two parts: events that are the last word, which
`proxy.audit.index.searching` finds, and the latest events of open calls, which are few. They are asked
for separately.
"""

import sys
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    false,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from proxy.audit.index.query import SEARCHED, Cursor, Filter, Parsed, Within, parse
from proxy.audit.index.rows import EVENT
from proxy.audit.index.schema import events, open_calls
from proxy.audit.index.store import By
from proxy.audit.resources import Resource

Condition = ColumnElement[bool]

_SURROGATES: Final = 0xD800
_AFTER_SURROGATES: Final = 0xE000
_EFFECTS: Final = frozenset({"mutate", "privileged", "stream"})
_ERROR: Final = 400
FAILED: Final = "code >= 400"
IN_SESSION: Final = "session <> ''"
WITH_EFFECT: Final = "call_class IN ('mutate', 'privileged', 'stream')"
NOT_A_CALL: Final = "kind <> 'Event'"
"""Conditions of partial indexes. A query must repeat them word for word to have their use."""
COUNTED: Final[dict[By, str]] = {
    "user": "username",
    "cluster": "cluster",
    "verb": "verb",
    "class": "call_class",
    "resource": "resource",
    "namespace": "namespace",
    "code": "code",
    "tool": "tool",
    "source": "source_ip",
}
"""The column behind each way of counting."""


class position_of(GenericFunction[int]):  # noqa: N801  # a SQL function, named like one
    """Where a text begins in another, from 1; 0 when it does not. Case matters."""

    inherit_cache = True
    name = "strpos"


@compiles(position_of, "sqlite")
def _instr(element: position_of, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    return f"instr({compiler.process(element.clauses, **options)})"


def conditions(given: Filter) -> list[Condition]:
    """What must hold for an event. Raises InvalidInputError for a filter we cannot read."""
    wanted = parse(given)
    column = events.c
    found = [*_times(given), *_texts(wanted), *_hints(given, wanted)]
    if given.within is not None:
        found.append(visible(given.within))
    if not given.include_noise:
        found.append(column.noise.is_(False))
    if wanted.groups:
        found.append(or_(*(position_of(column.user_groups, group) > 0 for group in wanted.groups)))
    if wanted.resources:
        found.append(or_(*map(_resource, wanted.resources)))
    if wanted.codes:
        found.append(or_(*(_between(column.code, low, high) for low, high in wanted.codes)))
    if wanted.networks:
        found.append(or_(*(column.source_key.between(*network) for network in wanted.networks)))
    if wanted.flags:
        found.append(or_(*(position_of(column.suspicious, flag) > 0 for flag in wanted.flags)))
    if wanted.text:
        # Not ILIKE, which is six times as slow in PostgreSQL. `lower` changes ASCII letters only:
        # in SQLite always, in PostgreSQL by the columns' collation "C".
        folded = (func.lower(column[name]) for name in SEARCHED)
        found.append(or_(*(position_of(name, wanted.text) > 0 for name in folded)))
    return found


def visible(within: Within) -> Condition:
    """What must hold for an event that `within` allows: `proxy.audit.index.query.visible` in SQL."""
    column = events.c
    calls: list[Condition] = [true()] if within.calls else []
    if clusters := sorted({cluster for cluster in within.clusters if cluster}):
        calls.append(column.cluster.in_(clusters))
    if pairs := sorted({pair for pair in within.namespaces if all(pair)}):
        calls.append(tuple_(column.cluster, column.namespace).in_(pairs))
    either: list[Condition] = []
    if within.user:
        either.append(column.username == within.user)
    if calls:
        either.append(and_(column.kind == EVENT, or_(*calls)))
    if within.system:
        either.append(column.kind != EVENT)
    return or_(false(), *either)


def finished(given: Filter, *columns: ColumnElement[Any]) -> Select[Any]:
    """The events among what `given` asks for that are the last word."""
    chosen = select(*columns).where(events.c.terminal == true(), *conditions(given))
    return chosen.where(false()) if given.open_only else chosen


def still_open(given: Filter, *columns: ColumnElement[Any]) -> Select[Any]:
    """Among the latest events of open calls, which are named besides, what `given` asks for."""
    return select(*columns).where(*conditions(given))


def open_calls_at(given: Filter) -> Select[str, int, int]:
    """Writer, sequence and time of the latest event of each open call, newest first."""
    column = open_calls.c
    chosen = select(column.writer, column.seq, column.at)
    if given.since is not None:
        chosen = chosen.where(column.at >= given.since)
    if given.until is not None:
        chosen = chosen.where(column.at < given.until)
    return chosen.order_by(column.at.desc())


def page(
    chosen: Select[Any], *, limit: int, cursor: Cursor | None, oldest_first: bool
) -> Select[Any]:
    """Order a selection by time, and cut one page out of it."""
    column = events.c
    key = (column.at, column.writer, column.seq)
    if cursor is not None:
        # The first condition says nothing new; it lets the database start at the right place.
        if oldest_first:
            chosen = chosen.where(column.at >= cursor.at, tuple_(*key) > tuple(cursor))
        else:
            chosen = chosen.where(column.at <= cursor.at, tuple_(*key) < tuple(cursor))
    order = [part.asc() if oldest_first else part.desc() for part in key]
    return chosen.order_by(*order).limit(limit)


def touched(
    chosen: Select[Any], cluster: str, namespace: str, resource: Resource, name: str
) -> Select[Any]:
    """Narrow a selection to the calls about one object."""
    column = events.c
    if cluster:
        chosen = chosen.where(column.cluster == cluster)
    return chosen.where(column.namespace == namespace, _resource(resource), column.name == name)


def tallies() -> tuple[ColumnElement[int], ColumnElement[int]]:
    """How many, and how many of them failed."""
    return func.count(), func.coalesce(func.sum(case((events.c.code >= _ERROR, 1), else_=0)), 0)


def bucket(seconds: int) -> ColumnElement[int]:
    """The beginning of the event's time bucket, µs since the epoch."""
    width: ColumnElement[int] = literal_column(str(int(seconds) * 1_000_000))
    return events.c.at - events.c.at % width


def _times(given: Filter) -> Iterator[Condition]:
    if given.since is not None:
        yield events.c.at >= given.since
    if given.until is not None:
        yield events.c.at < given.until


def _texts(wanted: Parsed) -> Iterator[Condition]:
    for name, exact, prefixes in wanted.texts:
        column = events.c[name]
        either: list[Condition] = []
        if exact:
            either.append(column.in_(sorted(exact)))
        either += [_begins(column, prefix) for prefix in prefixes]
        yield or_(*either)


def _begins(column: ColumnElement[str], prefix: str) -> Condition:
    """A range, so that an index serves; texts must compare by code point (PostgreSQL: "C")."""
    if not prefix:
        return true()
    last = ord(prefix[-1])
    if last == sys.maxunicode:
        return func.substr(column, 1, len(prefix)) == prefix
    after = chr(_AFTER_SURROGATES if last + 1 == _SURROGATES else last + 1)
    return and_(column >= prefix, column < prefix[:-1] + after)


def _between(column: ColumnElement[int], low: int, high: int) -> Condition:
    """One value is asked for as such: then an index by it and time is in order."""
    return column == low if low == high else column.between(low, high)


def _hints(given: Filter, wanted: Parsed) -> Iterator[Condition]:
    """Conditions that follow from the others, in the words of a partial index."""
    if wanted.codes and all(low >= _ERROR for low, _ in wanted.codes):
        yield text(FAILED)  # type: ignore[misc]
    if given.sessions and not any(value in ("", "*") for value in given.sessions):
        yield text(IN_SESSION)  # type: ignore[misc]
    if given.classes and _EFFECTS.issuperset(given.classes):
        yield text(WITH_EFFECT)  # type: ignore[misc]
    if given.kinds and not any(value.endswith("*") or value == "Event" for value in given.kinds):
        yield text(NOT_A_CALL)  # type: ignore[misc]


def _resource(wanted: Resource) -> Condition:
    column = events.c
    found = [column.resource == wanted.resource]
    if wanted.api_group is not None:
        found.append(column.api_group == wanted.api_group)
    if wanted.subresource is not None:
        found.append(column.subresource == wanted.subresource)
    return and_(*found)
