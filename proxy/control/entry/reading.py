"""Query and body of a request, read against the types of its route; nothing unknown is accepted."""

from typing import Any, Final

import msgspec
from aiohttp import web

from proxy.control.entry.problems import TooLargeError, WrongMediaTypeError
from proxy.control.entry.route import JSON, Route
from proxy.errors import InvalidInputError

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of the largest body; a kubeconfig with embedded certificates is a tenth of it."""
LINE_LIMIT: Final = 64 * 1024
"""Bytes of the longest path with its query: several texts of the greatest length, percent-encoded."""


def read_query(route: Route, request: web.Request) -> msgspec.Struct:
    """The query parameters. Raises InvalidInputError that names the place."""
    lists = {
        field.encode_name
        for field in msgspec.structs.fields(route.query)
        if msgspec.json.schema(field.type).get("type") == "array"
    }
    given: dict[str, Any] = {}
    for name in request.query:
        values = request.query.getall(name)
        if name in lists:
            given[name] = values
        elif len(values) > 1:
            raise InvalidInputError(f"Query parameter {name!r} is given {len(values)} times.")
        else:
            given[name] = values[0]
    try:
        return msgspec.convert(given, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInputError(
            f"Query of {route.method} {route.full_path}: {error}.",
            hint="GET /api/v1/openapi.json describes the parameters.",
        ) from error


async def read_body(route: Route, request: web.Request) -> msgspec.Struct | None:
    """The body; None where the route takes none. Raises InvalidInputError that names the place."""
    if route.body is None:
        if request.can_read_body:
            raise InvalidInputError(f"{route.method} {route.full_path} takes no body.")
        return None
    if request.content_type != JSON:
        # A page of another site can send other types without asking first (CORS).
        raise WrongMediaTypeError(
            f"The body of {route.method} {route.full_path} must have Content-Type {JSON}."
        )
    try:
        content = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLargeError(
            f"The body of {route.method} {route.full_path} is over {BODY_LIMIT} bytes."
        ) from error
    try:
        return msgspec.json.decode(content, type=route.body)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        # msgspec's messages name the place and the type, never the value.
        raise InvalidInputError(
            f"Body of {route.method} {route.full_path}: {error}.",
            hint="GET /api/v1/openapi.json describes the body.",
        ) from error
