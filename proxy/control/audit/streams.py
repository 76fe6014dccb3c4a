"""Routes of the audit log that answer for as long as it takes: export and live tail."""

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from aiohttp import web

from proxy.audit.index.export import csv_lines, json_lines
from proxy.audit.index.listeners import Missed, Subscription
from proxy.audit.index.query import Filter, Within, visible
from proxy.audit.index.rows import Row
from proxy.control.audit.search import (
    AuditQuery,
    about_look,
    about_query,
    caught_up,
    filter_of,
    item_of,
)
from proxy.control.audit.sight import LOOK, Sight
from proxy.control.entry.route import STREAM, About, Act, Route
from proxy.errors import DeniedError, UnavailableError
from proxy.state.permission import Permission

PAGE: Final = 1000
PATIENCE: Final = 30.0
"""Seconds that an export waits for the index to hold what is on record."""
KEEP_ALIVE: Final = 10.0
"""Seconds after which a quiet tail shows that it is alive."""
_INTENT: Final = "RequestReceived"


class ExportFormat(StrEnum):
    """Forms of an export."""

    NDJSON = "ndjson"
    CSV = "csv"


class ExportQuery(AuditQuery, frozen=True, kw_only=True, rename={"class_": "class"}):
    """What to export; everything that matches, oldest first."""

    format: ExportFormat = ExportFormat.NDJSON
    """`ndjson`: the records as they are; `csv`: a line of a table each."""
    incomplete: bool = False
    """What the index has, when it lacks events that are on record already."""


class TailQuery(AuditQuery, frozen=True, kw_only=True, rename={"class_": "class"}):
    """What to follow."""

    last: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 10
    """Events of before to begin with."""


async def export(act: Act) -> web.StreamResponse:
    """Everything that matches, as one file."""
    query, now = act.query_as(ExportQuery), act.services.clock.now()
    sight = Sight(act, Permission.EXPORT_AUDIT)
    given = filter_of(query, now, sight.now())
    if given.until is None:
        # An export ends: what happens meanwhile, the record of this one included, is not in it.
        given = msgspec.structs.replace(given, until=int(now * 1_000_000))
    if not await caught_up(act, PATIENCE):
        if not query.incomplete:
            raise UnavailableError(
                "The export would lack events: the index is behind what is on record.",
                hint="Try again when it has caught up (`kubewitness db status`), "
                "or take what it has now with --incomplete.",
            )
        act.detail["complete"] = False
    as_csv = query.format is ExportFormat.CSV
    media = "text/csv" if as_csv else "application/x-ndjson"
    stream = await _begin(act, media, f'attachment; filename="kubewitness-audit.{query.format}"')
    act.detail["results"] = count = 0
    if as_csv:
        await stream.write(_csv([], heading=True))
    async for rows in _pages(act, sight, given):
        await stream.write(_csv(rows) if as_csv else b"".join(json_lines(rows)))
        act.detail["results"] = count = count + len(rows)
    # The end of the stream is sent by the server, after the outcome is durable.
    return stream


def _csv(rows: list[Row], *, heading: bool = False) -> bytes:
    head, *lines = csv_lines(rows)
    return "".join([head, *lines] if heading else lines).encode()


async def _pages(act: Act, sight: Sight, given: Filter) -> AsyncIterator[list[Row]]:
    """Raises an error when the export cannot go on as it began: what is left out would not show."""
    cursor = None
    while True:
        page = await act.services.index.search(given, limit=PAGE, cursor=cursor, oldest_first=True)
        if not act.still_known() or sight.now() != given.within:
            raise DeniedError("What the caller may see has changed during the export.")
        if page.rows:
            yield page.rows
        cursor = page.cursor
        if cursor is None:
            return
        if act.services.closing.is_set():
            raise UnavailableError("The server stops, and the export was not at its end.")


async def tail(act: Act) -> web.StreamResponse:
    """The last events, and then each new one as it happens (server-sent events)."""
    query, services, sight = act.query_as(TailQuery), act.services, Sight(act)
    given = filter_of(query, services.clock.now(), sight.now())
    await caught_up(act)
    # Subscribed before the last ones are read, so that nothing falls between the two.
    async with services.indexer.subscribe(given) as subscription:
        page = await services.index.search(given, limit=query.last) if query.last else None
        rows = list(reversed(page.rows)) if page is not None else []
        shown = {(row.writer, row.seq) for row in rows}
        stream = await _begin(act, "text/event-stream")
        try:
            await stream.write(b"".join(map(_event, rows)) or b": nothing yet\n\n")
            act.detail["results"] = len(rows)
            async for item in _following(act, sight, subscription):
                if isinstance(item, Row) and (item.writer, item.seq) in shown:
                    continue
                await stream.write(_live(item))
                act.detail["results"] = int(str(act.detail["results"])) + isinstance(item, Row)
        except ConnectionError:
            pass  # the reader left; that is how a tail ends
    return stream


async def _following(
    act: Act, sight: Sight, subscription: Subscription
) -> AsyncIterator[Row | Missed | None]:
    """What is new, as it comes; None now and then, so that the reader sees a sign of life."""
    clock = act.services.clock
    alive = clock.monotonic()
    while not _over(act):
        subscription.see(sight.now())
        item: Row | Missed | None = None
        try:
            async with asyncio.timeout(LOOK):
                item = await anext(subscription)
        except TimeoutError:
            if clock.monotonic() - alive < KEEP_ALIVE:
                continue
        if isinstance(item, Row) and not _shows(item, sight.now()):
            continue
        alive = clock.monotonic()
        yield item


def _shows(row: Row, within: Within | None) -> bool:
    """Whether a row is shown that was in the queue, perhaps since before a grant ended.

    A call that has only begun is shown when there is something to say of it.
    """
    return row.stage != _INTENT and (within is None or visible(row, within))


def _over(act: Act) -> bool:
    """Whether the server closes, the reader left, or may not look any more."""
    transport = act.request.transport
    return (
        act.services.closing.is_set()
        or transport is None
        or transport.is_closing()
        or not act.still_known()
    )


def _live(item: Row | Missed | None) -> bytes:
    if item is None:
        return b": alive\n\n"
    if isinstance(item, Missed):
        return b"event: missed\ndata: " + msgspec.json.encode(item) + b"\n\n"
    return _event(item)


async def _begin(act: Act, media: str, disposition: str = "") -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": media})
    if disposition:
        stream.headers["Content-Disposition"] = disposition
    # From here on an error can only be told by breaking off; see `dispatch`.
    act.request[STREAM] = stream
    await stream.prepare(act.request)
    return stream


def _event(row: Row) -> bytes:
    return b"event: record\ndata: " + msgspec.json.encode(item_of(row)) + b"\n\n"


def _about_export(act: Act) -> About:
    return about_look(act, Permission.EXPORT_AUDIT)


ROUTES = (
    Route(
        "GET", "/audit/export", "exportCalls", "Export the audit log as NDJSON or CSV.", export,
        action="audit.export", about=_about_export, query=ExportQuery, media="application/x-ndjson",
    ),
    Route(
        "GET", "/audit/tail", "tailCalls", "Follow the audit log (server-sent events).", tail,
        action="audit.tail", about=about_query, query=TailQuery, media="text/event-stream",
    ),
)  # fmt: skip
