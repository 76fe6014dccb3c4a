"""What a query of the audit log says, as every audit route takes it, and how events go out."""

import asyncio
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import structlog

from proxy.audit.index.export import event
from proxy.audit.index.query import Cursor, Filter, Within, parse
from proxy.audit.index.rows import Row
from proxy.audit.moments import parse_moment
from proxy.control.audit.sight import said, seen
from proxy.control.entry.fields import CursorText
from proxy.control.entry.route import About, Act
from proxy.errors import KubewitnessError
from proxy.state.permission import Permission
from proxy.tasks import spawn

_log = structlog.get_logger(__name__)
CATCH_UP: Final = 1.0
"""Seconds a look waits for the index to hold what is durable already."""

Text = Annotated[str, msgspec.Meta(max_length=1024)]
Texts = Annotated[tuple[Text, ...], msgspec.Meta(max_length=100)]


class Kind(StrEnum):
    """What is looked for."""

    CALL = "call"
    CONNECTION = "connection"
    """Connections that ended before they carried a call."""
    SYSTEM = "system"
    """Administrative acts, looks at the log included."""


_KINDS: Final = {
    Kind.CALL: "Event",
    Kind.CONNECTION: "ConnectionEvent",
    Kind.SYSTEM: "SystemEvent",
}


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True, rename={"class_": "class"}, forbid_unknown_fields=True):  # fmt: skip
    """Which events. What is given must hold; of what is given several times, any one.

    Texts match exactly, or by what they begin with when they end in `*`.
    """

    since: Text = ""
    """RFC 3339, or a time ago such as `24h`."""
    until: Text = ""
    user: Texts = ()
    group: Texts = ()
    """Of the caller, at the time of the call."""
    cluster: Texts = ()
    namespace: Texts = ()
    resource: Texts = ()
    """`pods`, `deploy`, `deployments.apps`, `pods/exec`."""
    name: Texts = ()
    """Of the object."""
    verb: Texts = ()
    class_: Texts = ()
    """`read`, `mutate`, `stream`, `discovery`, `health`, `privileged`."""
    status: Texts = ()
    """`403`, `4xx`, `>=400`."""
    source: Texts = ()
    """Addresses and networks."""
    tool: Texts = ()
    """The program, by its user agent: `kubectl`, `helm`."""
    session: Texts = ()
    """One run of kubectl, by the id that it sends itself."""
    command: Texts = ()
    """As kubectl sends it itself: `kubectl get`."""
    credential: Texts = ()
    """Serials."""
    suspicious: Texts = ()
    """Flags such as `new-address`, or `*` for any."""
    text: Text = ""
    """Somewhere in the URI, user agent, name or user."""
    action: Texts = ()
    """Of administrative acts: `grant.add`, `audit.*`."""
    target: Texts = ()
    """Of administrative acts: what they were about."""
    reason: Texts = ()
    """Of a call's status: `Forbidden`. Of an administrative act its outcome: `ok`, `denied*`."""
    kind: tuple[Kind, ...] = (Kind.CALL,)
    """`call`, `connection` (ended before it carried a call) or `system` (administrative acts, looks at the log)."""
    all: bool = False
    """Discovery and health calls, too."""
    open: bool = False
    """Only calls that have not ended."""


class PageQuery(AuditQuery, frozen=True, kw_only=True):
    """Which events, and which page of them."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    cursor: CursorText = ""
    """`next` of the page before."""
    oldest: bool = False
    """Oldest first."""


def moment(text: str, now: float) -> int | None:
    """A moment as people write it, in µs since the epoch; None of an empty text. InvalidInputError."""
    return parse_moment(text, now) if text else None


def filter_of(query: AuditQuery, now: float, within: Within | None) -> Filter:
    """`query` as the index takes it at wall time `now`, for somebody who may see what is `within`.

    Raises InvalidInputError.
    """
    made = Filter(
        within=within,
        since=moment(query.since, now),
        until=moment(query.until, now),
        users=query.user,
        groups=query.group,
        clusters=query.cluster,
        namespaces=query.namespace,
        resources=query.resource,
        names=query.name,
        verbs=query.verb,
        classes=query.class_,
        status=query.status,
        sources=query.source,
        tools=query.tool,
        sessions=query.session,
        commands=query.command,
        credentials=query.credential,
        suspicious=query.suspicious,
        text=query.text,
        actions=query.action,
        targets=query.target,
        reasons=query.reason,
        kinds=tuple(_KINDS[kind] for kind in query.kind),
        include_noise=query.all,
        open_only=query.open,
    )
    # Here, and not when it is first used: an answer may have begun by then.
    parse(made)
    return made


class Looked(NamedTuple):
    """What a look at a list of events found."""

    rows: list[Row]
    next: str
    """Cursor of the next page; empty at the end."""
    complete: bool
    """False while the index has not caught up with the journal."""


async def look(
    act: Act, wanted: Filter, *, limit: int, cursor: str, oldest_first: bool = False
) -> Looked:
    """A page of events; the record says how many were shown. Raises InvalidInputError for a cursor."""
    place = Cursor.parse(cursor) if cursor else None
    complete = await caught_up(act)
    found = await act.services.index.search(
        wanted, limit=limit, cursor=place, oldest_first=oldest_first
    )
    act.detail["results"] = len(found.rows)
    return Looked(found.rows, str(found.cursor or ""), complete)


async def caught_up(act: Act, patience: float = CATCH_UP) -> bool:
    """Wait until the index holds what is durable now, at most `patience` seconds; False when it took
    longer or failed.

    A look still works then, on what the index has; it says that it may be incomplete.
    """
    # Not cancelled when we stop waiting: the pass is of use to whoever looks next.
    task = spawn(_pass(act), name="catch up for a look")
    done, _ = await asyncio.wait({task}, timeout=patience)
    return bool(done) and task.result()


async def _pass(act: Act) -> bool:
    try:
        await act.services.indexer.catch_up()
    except (KubewitnessError, OSError) as error:
        _log.warning("index is behind", error=str(error))
        return False
    return True


def about_query(act: Act) -> About:
    """What the record says of a look: the query as it was sent, and what is visible to it."""
    return about_look(act, Permission.LOOK_AT_AUDIT)


def about_look(act: Act, permission: Permission) -> About:
    """The same, where another permission says what is visible."""
    query = act.request.rel_url.raw_query_string
    return About("", {"query": query, "visible": said(seen(act, permission))})


def item_of(row: Row) -> dict[str, Any]:
    """An event as the API shows it: as it is exported, and where it stands in which journal."""
    return {"writer": row.writer, "seq": row.seq} | event(row)
