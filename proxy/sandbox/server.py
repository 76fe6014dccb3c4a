"""The HTTP face of the sandbox: who calls, what for, and which handler answers."""

import uuid
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from proxy.sandbox import (
    accounts,
    discovery,
    execing,
    logs,
    openapi,
    reading,
    reviews,
    subresources,
    targets,
    usage,
    watching,
    writing,
)
from proxy.sandbox.calls import MAX_BODY, Call, compact
from proxy.sandbox.failures import ApiError, method_not_allowed, no_such_path
from proxy.sandbox.registry import Registry

Handler = Callable[[Call], Awaitable[web.StreamResponse]]
_log = structlog.get_logger(__name__)

_COLLECTION: dict[str, Handler] = {
    "list": reading.collection,
    "watch": watching.watch,
    "create": writing.create,
    "deletecollection": writing.delete_collection,
}
_OBJECT: dict[str, Handler] = {
    "get": reading.get,
    "update": writing.update,
    "patch": writing.patch,
    "delete": writing.delete,
}
_SUBRESOURCE: dict[str, Handler] = {
    "scale": subresources.scale,
    "eviction": subresources.evict,
    "token": subresources.token,
    "binding": subresources.bind,
    "finalize": subresources.finalize,
    "log": logs.logs,
    "exec": execing.execute,
    "attach": execing.execute,
    "portforward": execing.refuse,
    "proxy": execing.refuse,
}


def application(registry: Registry, token: str) -> web.Application:
    """The API over `registry`, open to bearers of `token`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            response = await _answer(request, registry, token)
        except ApiError as error:
            response = web.json_response(error.status(), status=error.code, dumps=compact)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # An object of a shape that no check foresaw. The sandbox says so and lives on.
            _log.warning("sandbox could not handle a request", path=request.path, exc_info=error)
            message = f"the sandbox cannot handle this object: {type(error).__name__}"
            refusal = ApiError(422, "Invalid", message)
            response = web.json_response(refusal.status(), status=422, dumps=compact)
        if not response.prepared:
            response.headers["Audit-Id"] = request.headers.get("Audit-ID") or str(uuid.uuid4())
            response.headers["Cache-Control"] = "no-cache, private"
        return response

    app = web.Application(
        client_max_size=MAX_BODY,
        handler_args={"max_line_size": 1 << 20, "max_field_size": 1 << 20},
    )
    app.router.add_route("*", "/{path:.*}", handle)
    return app


async def _answer(request: web.Request, registry: Registry, token: str) -> web.StreamResponse:
    account = accounts.identify(request.headers, token)
    path = request.path.strip("/")
    parts = path.split("/")
    if len(parts) < (3 if parts[0] == "api" else 4) or parts[0] not in ("api", "apis"):
        return _document(request, path)
    target = targets.parse(path)
    call = Call(request, target, account, registry)
    verb = targets.verb(request.method, target, watch=call.flag("watch"))
    accounts.demand(account, verb, target.kind.group, target.resource, target.namespace)
    return await _handler(target, verb)(call)


def _handler(target: targets.Target, verb: str) -> Handler:
    kind = target.kind
    if target.subresource in _SUBRESOURCE:
        return _SUBRESOURCE[target.subresource]
    if verb not in kind.verbs:
        raise method_not_allowed()
    if not kind.stored:
        return reviews.answer if verb == "create" else usage.usage
    found = (_OBJECT if target.name else _COLLECTION).get(verb)
    if found is None:
        raise method_not_allowed()
    return found


def _document(request: web.Request, path: str) -> web.Response:
    if path in ("healthz", "livez", "readyz"):
        return web.Response(text="ok")
    if path.startswith("openapi/"):
        return _openapi(request, path)
    if path == "version":
        return web.json_response(discovery.version())
    if not path:
        return web.json_response(
            {"paths": ["/api", "/apis", "/healthz", "/openapi/v3", "/version"]}
        )
    accept = request.headers.get("Accept", "")
    aggregated = "as=APIGroupDiscoveryList" in accept and "v=v2;" in accept.replace(
        "v=v2,", "v=v2;"
    )
    found = discovery.document(path, aggregated=aggregated)
    if found is None:
        raise no_such_path()
    data, etag = found
    headers = {"ETag": etag, "Vary": "Accept"}
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    kind = discovery.AGGREGATED if aggregated and path in ("api", "apis") else "application/json"
    return web.Response(body=data, headers={**headers, "Content-Type": kind})


def _openapi(request: web.Request, path: str) -> web.Response:
    if path == "openapi/v2":
        if "proto-openapi" in request.headers.get("Accept", ""):
            kind = openapi.V2_PROTOBUF_TYPE
            return web.Response(body=openapi.EMPTY_V2_PROTOBUF, headers={"Content-Type": kind})
        return web.json_response(openapi.EMPTY_V2)
    if path == "openapi/v3":
        return web.json_response(openapi.index())
    data = openapi.document(path.removeprefix("openapi/v3/"))
    if data is None:
        raise no_such_path()
    return web.Response(body=data, headers={"Content-Type": "application/json"})
