"""The OpenAPI 3.1 document, built from the same table the router is built from."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from proxy import __version__
from proxy.control.entry import permissions
from proxy.control.entry.problems import MEDIA_TYPE, STATUSES, Problem
from proxy.control.entry.route import JSON, NoQuery, Route
from proxy.state.permission import Permission

_REFERENCE: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{([a-z]+)\}")
_COMMON_ERRORS: Final = (400, 401, 403, 404, 409, 413, 415, 500, 503)
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "ETag of the thing as it was seen; 412 when it was changed since.",
    "schema": {"type": "string", "maxLength": 256},
}
_ETAG: Final = {
    "description": "Version of the thing: hand it back as `If-Match` to change what you have seen.",
    "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
}
_PATH_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 512}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The description of `routes`, as JSON-able values."""
    types: list[Any] = [Problem]
    for route in routes:
        types += [kind for kind in (route.query, route.body, route.response) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    # Types compare by identity here: some are not hashable (`list[...]`).
    of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, of, components)
        paths.setdefault(route.full_path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kubewitness",
            "version": __version__,
            "description": (
                "The control plane. Every look at the audit log and every administrative act is "
                "itself recorded before it has an effect. No route changes or deletes a record."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "clientCertificate": {
                    "type": "mutualTLS",
                    "description": "A certificate issued by the proxy for the control plane.",
                },
                "apiToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "kwt_ID_SECRET",
                    "description": "An API token of a registered user, as `POST /tokens` shows it once.",
                },
            },
        },
        # Either is enough. With both, both must be of one user.
        "security": [{"clientCertificate": []}, {"apiToken": []}],
    }


def _operation(
    route: Route, of: dict[int, dict[str, Any]], components: dict[str, Any]
) -> dict[str, Any]:
    required = permissions.REQUIRED.get((route.method, route.full_path))
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.path.split("/")[1]],
        "description": _description(route, required),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": _PATH_TEXT}
            for name in _PARAMETER.findall(route.path)
        ]
        + _query_parameters(route, of, components)
        + ([_IF_MATCH] if route.conditional else []),
        "responses": _responses(route, of),
    }
    if required is Permission.RENEW:
        operation["security"] = [{"clientCertificate": []}]
    if route.body is not None:
        content = {JSON: {"schema": of[id(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _description(route: Route, required: Permission | None) -> str:
    needs = f"Needs the permission `{required}`." if required else "Allowed to nobody."
    if (route.method, route.full_path) in permissions.OWN:
        needs += " Without it, it is about what is the caller's own."
    recorded = f" Recorded as `{route.action}`, before and after." if route.action else ""
    return needs + recorded


def _query_parameters(
    route: Route, of: dict[int, dict[str, Any]], components: dict[str, Any]
) -> list[dict[str, Any]]:
    if route.query is NoQuery:
        return []
    schema = of[id(route.query)]
    schema = components[schema["$ref"].rpartition("/")[2]]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": kind}
        # Where readers of the document, and pages made of it, look for it.
        | ({"description": kind["description"]} if "description" in kind else {})
        for name, kind in schema["properties"].items()
    ]


def _responses(route: Route, of: dict[int, dict[str, Any]]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if route.response is not None:
        success["content"] = {route.media: {"schema": of[id(route.response)]}}
    elif route.status != 204:
        success["content"] = {route.media: {"schema": {"type": "string"}}}
    if route.versioned:
        success["headers"] = {"ETag": _ETAG}
    responses: dict[str, Any] = {str(route.status): success}
    for status in sorted({*_COMMON_ERRORS, *([412] if route.conditional else [])}):
        responses[str(status)] = {
            "description": STATUSES[status],
            "content": {MEDIA_TYPE: {"schema": of[id(Problem)]}},
        }
    return responses
