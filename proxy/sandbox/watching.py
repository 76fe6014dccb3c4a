"""watch: a stream of changes, from now, from a past version, or from the whole list (WatchList)."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from proxy.sandbox.calls import Call, compact, partial
from proxy.sandbox.failures import ApiError
from proxy.sandbox.objects import Object
from proxy.sandbox.reading import matcher
from proxy.sandbox.selectors import Matcher
from proxy.sandbox.store import Change

#: Seconds between bookmarks for clients that ask for them, as a real server sends them.
BOOKMARK_EVERY: Final = 60.0
#: A watch without a time limit of its own ends after this many seconds, plus up to as many again.
DEFAULT_TIMEOUT: Final = 1800.0

Event = tuple[str, Object]


async def watch(call: Call) -> web.StreamResponse:
    """Stream the changes of a collection until the asked time is over or the client leaves."""
    matches = matcher(call)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    seconds = call.number("timeoutSeconds") or DEFAULT_TIMEOUT * (1 + random.random())  # noqa: S311 - spreads reconnects, protects nothing
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(seconds):
            header = True
            async for kind, item in _events(call, matches, response):
                shown = item if kind in ("BOOKMARK", "ERROR") else _shape(call, item, header=header)
                header = header and shown is item
                await response.write((compact({"type": kind, "object": shown}) + "\n").encode())
    with contextlib.suppress(ConnectionError):
        await response.write_eof()
    return response


def _shape(call: Call, item: Object, *, header: bool) -> Object:
    if (table := call.shown([item], header=header)) is not None:
        return table
    return partial(item) if call.form() == "PartialObjectMetadata" else item


async def _events(
    call: Call, matches: Matcher, response: web.StreamResponse
) -> AsyncIterator[Event]:
    store = call.registry.store
    # Nothing awaits between subscribing and looking back, so no change is missed or seen twice.
    with store.subscribe() as queue:
        try:
            first = _first(call, matches)
        except ApiError as error:
            first = [("ERROR", error.status())]
        # The headers go out at once, before any event: that is what unblocks a client.
        await response.prepare(call.request)
        for event in first:
            yield event
            if event[0] == "ERROR":
                return
        while True:
            try:
                change = await asyncio.wait_for(queue.get(), BOOKMARK_EVERY)
            except TimeoutError:
                if call.flag("allowWatchBookmarks"):
                    yield bookmark(call, store.revision)
                continue
            if (seen := event_for(change, call, matches)) is not None:
                yield seen


def _first(call: Call, matches: Matcher) -> list[Event]:
    store = call.registry.store
    version = call.number("resourceVersion") or 0
    initial = call.flag("sendInitialEvents")
    if version and not initial:
        past = (event_for(change, call, matches) for change in store.since(version))
        return [event for event in past if event is not None]
    events: list[Event] = []
    if initial or not call.query("sendInitialEvents"):
        items = store.items(call.kind, call.target.namespace)
        events = [("ADDED", item) for item in items if matches(item)]
    if initial and call.flag("allowWatchBookmarks"):
        events.append(bookmark(call, store.revision, initial_end=True))
    return events


def bookmark(call: Call, revision: int, *, initial_end: bool = False) -> Event:
    """A bookmark event; `initial_end` says that the initial list of a WatchList is complete."""
    meta: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_end:
        meta["annotations"] = {"k8s.io/initial-events-end": "true"}
    body: Object = {"kind": call.kind.name, "apiVersion": call.kind.api_version, "metadata": meta}
    return ("BOOKMARK", body)


def event_for(change: Change, call: Call, matches: Matcher) -> Event | None:
    """What a watcher with these selectors sees of a change.

    An object that starts or stops matching is added or deleted in the eyes of the watcher.
    """
    if change.kind is not call.kind:
        return None
    was = change.previous is not None and matches(change.previous)
    is_now = change.type != "DELETED" and matches(change.object)
    if was and is_now:
        return ("MODIFIED", change.object)
    if is_now:
        return ("ADDED", change.object)
    return ("DELETED", change.object) if was else None
