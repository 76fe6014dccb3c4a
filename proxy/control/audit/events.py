"""Routes of the audit log that answer at once: search, show, who, stats.

Each look is recorded before its results are shown, and first waits a moment for the index to hold
what is durable already: a call that just ended is found.
"""

from typing import Annotated, Any

import msgspec

from proxy.audit.index.store import By, Tally
from proxy.audit.moments import write_moment
from proxy.audit.resources import parse_resource
from proxy.control.audit.search import (
    AuditQuery,
    PageQuery,
    Text,
    about_query,
    caught_up,
    filter_of,
    item_of,
    look,
)
from proxy.control.audit.sight import Sight, said, seen
from proxy.control.entry.route import About, Act, Route
from proxy.errors import InvalidInputError, NotFoundError, UnavailableError


class CallList(msgspec.Struct, frozen=True):
    """A page of events: of each call the last one, which says most."""

    items: tuple[dict[str, Any], ...]
    next: str
    """Cursor of the next page; empty at the end."""
    complete: bool
    """False while the index has not caught up with the journal."""


class CallEvents(msgspec.Struct, frozen=True):
    """All events of one call, first to last."""

    items: tuple[dict[str, Any], ...]


class WhoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which object."""

    resource: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    namespace: Text = ""
    cluster: Text = ""
    """Empty means any."""


class Toucher(msgspec.Struct, frozen=True, rename="camel"):
    """What one user did to an object."""

    user: str
    calls: int
    verbs: dict[str, int]
    first_seen: str
    last_seen: str
    last_status: int | None


class TouchList(msgspec.Struct, frozen=True):
    """Who touched an object, the latest first."""

    items: tuple[Toucher, ...]
    complete: bool


class StatsQuery(AuditQuery, frozen=True, kw_only=True, rename={"class_": "class"}):
    """What to count."""

    by: str = "user"
    """user, cluster, verb, class, resource, namespace, status, tool or source."""
    bucket: Annotated[int, msgspec.Meta(ge=0, le=31 * 86_400)] = 0
    """Seconds of a bucket of time; 0 for none."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50


class Count(msgspec.Struct, frozen=True):
    """Calls that have something in common."""

    value: str
    count: int
    failed: int
    """Of them, with a status of 400 or more."""


class Statistics(msgspec.Struct, frozen=True):
    """Counts, most first, and over time when asked for."""

    total: int
    failed: int
    items: tuple[Count, ...]
    buckets: tuple[Count, ...]
    complete: bool


_BY: dict[str, By] = {
    "user": "user",
    "cluster": "cluster",
    "verb": "verb",
    "class": "class",
    "resource": "resource",
    "namespace": "namespace",
    "status": "code",
    "tool": "tool",
    "source": "source",
}


async def search(act: Act) -> CallList:
    """A page of calls."""
    query = act.query_as(PageQuery)
    given = filter_of(query, act.services.clock.now(), Sight(act).now())
    found = await look(
        act, given, limit=query.limit, cursor=query.cursor, oldest_first=query.oldest
    )
    return CallList(tuple(map(item_of, found.rows)), found.next, found.complete)


async def show(act: Act) -> CallEvents:
    """All events of one call."""
    complete = await caught_up(act)
    audit_id = act.param("id").lower()
    rows = await act.services.index.get(audit_id, Sight(act).now())
    if not rows and not complete:
        raise UnavailableError(
            f"Nothing is found under {audit_id!r} yet: the index is behind what is on record.",
            hint="Try again when it has caught up (`kubewitness db status`).",
        )
    if not rows:
        raise NotFoundError(
            f"Nothing that you may see is recorded under {audit_id!r}.",
            hint="`audit search` shows audit IDs with -o name.",
        )
    return CallEvents(tuple(item_of(row) for row in rows))


async def who(act: Act) -> TouchList:
    """Who touched an object."""
    query = act.query_as(WhoQuery)
    resource = parse_resource(query.resource)
    complete = await caught_up(act)
    found = await act.services.index.who(
        query.cluster, query.namespace, resource, query.name, Sight(act).now()
    )
    act.detail["results"] = len(found)
    return TouchList(
        tuple(
            Toucher(
                user=item.username,
                calls=sum(item.verbs.values()),
                verbs=item.verbs,
                first_seen=write_moment(item.first_seen),
                last_seen=write_moment(item.last_seen),
                last_status=item.last_code,
            )
            for item in found
        ),
        complete,
    )


async def stats(act: Act) -> Statistics:
    """Calls counted."""
    query = act.query_as(StatsQuery)
    if query.by not in _BY:
        raise InvalidInputError(
            f"Nothing is counted by {query.by!r}.", hint=f"Use {', '.join(_BY)}."
        )
    given = filter_of(query, act.services.clock.now(), Sight(act).now())
    complete = await caught_up(act)
    found = await act.services.index.stats(
        given, _BY[query.by], bucket_seconds=query.bucket, limit=query.limit
    )
    return Statistics(
        total=found.total,
        failed=found.failed,
        items=tuple(Count(item.value, item.count, item.failed) for item in found.tallies),
        buckets=tuple(_bucket(item) for item in found.buckets),
        complete=complete,
    )


def _bucket(item: Tally) -> Count:
    return Count(write_moment(int(item.value)), item.count, item.failed)


def _about_show(act: Act) -> About:
    return About(act.param("id"), {"visible": said(seen(act))})


def _about_who(act: Act) -> About:
    query = act.query_as(WhoQuery)
    return About(
        f"{query.resource}/{query.name}",
        {
            "namespace": query.namespace,
            "cluster": query.cluster,
            "visible": said(seen(act)),
        },
    )


ROUTES = (
    Route(
        "GET", "/audit/calls", "searchCalls", "Search the audit log.", search,
        action="audit.search", about=about_query, query=PageQuery, response=CallList,
    ),
    Route(
        "GET", "/audit/calls/{id}", "showCall", "All events of one call.", show,
        action="audit.show", about=_about_show, response=CallEvents,
    ),
    Route(
        "GET", "/audit/who", "whoTouched", "Who touched an object.", who,
        action="audit.who", about=_about_who, query=WhoQuery, response=TouchList,
    ),
    Route(
        "GET", "/audit/stats", "countCalls", "Count calls.", stats,
        action="audit.stats", about=about_query, query=StatsQuery, response=Statistics,
    ),
)  # fmt: skip
