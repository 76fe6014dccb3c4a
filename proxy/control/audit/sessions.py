"""The route of sessions: exec, attach and port-forward streams, as the log has them."""

from typing import Annotated, Final

import msgspec

from proxy.audit.index.query import Filter
from proxy.audit.index.rows import Row
from proxy.audit.moments import write_moment
from proxy.control.audit.search import Text, Texts, about_look, look, moment
from proxy.control.audit.sight import Sight
from proxy.control.entry.fields import PagedQuery
from proxy.control.entry.route import About, Act, Route
from proxy.state.permission import Permission

_KINDS: Final = {"exec": "exec", "attach": "attach", "portforward": "port-forward"}
"""Subresource of pods, and what people call the stream."""


class SessionQuery(PagedQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which sessions. What is given must hold; of what is given several times, any one."""

    since: Text = ""
    """RFC 3339, or a time ago such as `24h`."""
    until: Text = ""
    user: Texts = ()
    cluster: Texts = ()
    namespace: Texts = ()
    pod: Texts = ()
    open: bool = False
    """Only those under way."""


class SessionItem(msgspec.Struct, frozen=True, rename="camel"):
    """A stream into a pod."""

    id: str
    """Audit ID of the call."""
    kind: str
    """`exec`, `attach` or `port-forward`."""
    user: str
    credential: str
    """Serial of the certificate."""
    cluster: str
    namespace: str
    pod: str
    started_at: str
    ended_at: str
    """Empty while it is under way."""
    status: int | None
    """HTTP status; 101 for a stream, null before there is one."""
    close_reason: str
    source: str
    """Address it came from."""
    tool: str
    bytes_in: Annotated[int, msgspec.Meta(ge=0)]
    bytes_out: Annotated[int, msgspec.Meta(ge=0)]


class SessionList(msgspec.Struct, frozen=True):
    """Sessions, newest first."""

    items: tuple[SessionItem, ...]
    next: str
    """Cursor of the next page; empty at the end."""
    complete: bool
    """False while the index has not caught up with the journal."""


async def list_sessions(act: Act) -> SessionList:
    """One's own, and those where one may look."""
    query, now = act.query_as(SessionQuery), act.services.clock.now()
    wanted = Filter(
        since=moment(query.since, now),
        until=moment(query.until, now),
        users=query.user,
        clusters=query.cluster,
        namespaces=query.namespace,
        names=query.pod,
        resources=tuple(f"pods/{subresource}" for subresource in _KINDS),
        kinds=("Event",),
        open_only=query.open,
        within=Sight(act, Permission.LOOK_AT_SESSIONS).now(),
    )
    found = await look(act, wanted, limit=query.limit, cursor=query.cursor)
    return SessionList(tuple(map(_item, found.rows)), found.next, found.complete)


def _item(row: Row) -> SessionItem:
    return SessionItem(
        id=row.audit_id,
        kind=_KINDS.get(row.subresource, row.subresource),
        user=row.username,
        credential=row.credential,
        cluster=row.cluster,
        namespace=row.namespace,
        pod=row.name,
        started_at=write_moment(row.received_at),
        ended_at=write_moment(row.at) if row.terminal else "",
        status=row.code,
        close_reason=row.close_reason,
        source=row.source_ip,
        tool=row.tool,
        bytes_in=row.bytes_in,
        bytes_out=row.bytes_out,
    )


def _about(act: Act) -> About:
    return about_look(act, Permission.LOOK_AT_SESSIONS)


ROUTES = (
    Route(
        "GET", "/sessions", "listSessions", "List exec, attach and port-forward streams.",
        list_sessions, action="session.list", about=_about, query=SessionQuery,
        response=SessionList,
    ),
)  # fmt: skip
