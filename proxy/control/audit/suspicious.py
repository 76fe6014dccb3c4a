"""The route of suspicious uses: calls and acts that were flagged when they were recorded.

A look at the log like every other one: on record before it is shown, and narrowed to what the
caller may see.
"""

from typing import Annotated

import msgspec

from proxy.audit.flags import Flag
from proxy.audit.index.query import ANY, Filter
from proxy.audit.index.rows import Row
from proxy.control.audit.investigation import CallItem, call_item
from proxy.control.audit.search import Text, Texts, about_query, look, moment
from proxy.control.entry.fields import PagedQuery
from proxy.control.entry.route import Act, Route


class SuspiciousQuery(PagedQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which uses. What is given must hold; of what is given several times, any one."""

    since: Text = ""
    """RFC 3339, or a time ago such as `24h`."""
    until: Text = ""
    user: Texts = ()
    credential: Texts = ()
    """Serials."""
    flag: Annotated[tuple[Flag, ...], msgspec.Meta(max_length=100)] = ()
    """Any of them; all when none is named."""


class SuspiciousItem(CallItem, frozen=True, kw_only=True, rename="camel"):
    """A use of a credential that is out of the ordinary."""

    user: str
    tool: str


class SuspiciousList(msgspec.Struct, frozen=True):
    """Uses that were flagged, newest first."""

    items: tuple[SuspiciousItem, ...]
    next: str
    """Cursor of the next page; empty at the end."""
    complete: bool
    """False while the index has not caught up with the journal."""


async def list_suspicious(act: Act) -> SuspiciousList:
    """What was flagged, of what the caller may see."""
    query, now = act.query_as(SuspiciousQuery), act.services.clock.now()
    wanted = Filter(
        since=moment(query.since, now),
        until=moment(query.until, now),
        users=query.user,
        credentials=query.credential,
        suspicious=tuple(flag.value for flag in query.flag) or (ANY,),
        include_noise=True,
        within=act.within(),
    )
    found = await look(act, wanted, limit=query.limit, cursor=query.cursor)
    return SuspiciousList(tuple(map(_item, found.rows)), found.next, found.complete)


def _item(row: Row) -> SuspiciousItem:
    call = msgspec.structs.asdict(call_item(row))
    return SuspiciousItem(**call, user=row.username, tool=row.tool)


ROUTES = (
    Route(
        "GET", "/audit/suspicious", "listSuspicious",
        "Uses of credentials that are out of the ordinary.", list_suspicious,
        action="audit.suspicious", about=about_query, query=SuspiciousQuery,
        response=SuspiciousList,
    ),
)  # fmt: skip
