"""get and list."""

import base64
import json

from aiohttp import web

from proxy.sandbox import selectors
from proxy.sandbox.calls import Call, partial
from proxy.sandbox.failures import bad_request
from proxy.sandbox.objects import Object, name_of, namespace_of
from proxy.sandbox.selectors import Matcher


def matcher(call: Call) -> Matcher:
    """Whether an object is in the namespace and the selectors of the call."""
    by_label = selectors.labels(call.query("labelSelector"))
    by_field = selectors.fields(call.query("fieldSelector"))
    home = call.target.namespace
    name = call.target.name

    def matches(item: Object) -> bool:
        here = not home or namespace_of(item) == home
        return here and (not name or name_of(item) == name) and by_label(item) and by_field(item)

    return matches


async def get(call: Call) -> web.Response:
    """One object, or its table of one row."""
    target = call.target
    item = call.registry.require(call.kind, target.namespace, target.name)
    return call.answer(call.single(item))


async def collection(call: Call) -> web.Response:
    """A list, a table, or a page of either."""
    matches = matcher(call)
    store = call.registry.store
    items = [item for item in store.items(call.kind, call.target.namespace) if matches(item)]
    items, meta = _page(call, items, store.revision)
    table = call.shown(items)
    if table is not None:
        return call.answer(table | {"metadata": meta})
    if call.form() == "PartialObjectMetadata":
        listed = [partial(item) for item in items]
        body = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return call.answer({**body, "metadata": meta, "items": listed})
    return call.answer(
        {
            "kind": f"{call.kind.name}List",
            "apiVersion": call.kind.api_version,
            "metadata": meta,
            "items": items,
        }
    )


def _page(call: Call, items: list[Object], revision: int) -> tuple[list[Object], Object]:
    # A page continues after the last name given, in the present state: unlike a real server the
    # sandbox keeps no snapshot of the past.
    limit = call.number("limit")
    if token := call.query("continue"):
        last = _decode(token)
        items = [item for item in items if (namespace_of(item), name_of(item)) > last]
    meta: Object = {"resourceVersion": str(revision)}
    if not limit or len(items) <= limit:
        return items, meta
    page = items[:limit]
    place = [namespace_of(page[-1]), name_of(page[-1])]
    meta["continue"] = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    meta["remainingItemCount"] = len(items) - limit
    return page, meta


def _decode(token: str) -> tuple[str, str]:
    try:
        namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError) as error:
        raise bad_request("continue key is not valid") from error
    return str(namespace), str(name)
