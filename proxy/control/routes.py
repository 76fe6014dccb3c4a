"""Every route of the control plane, in the order of the OpenAPI document."""

from typing import Any, Final

from proxy.control import (
    apply,
    audit,
    authority,
    clusters,
    credentials,
    effective,
    explain,
    grants,
    groups,
    investigating,
    meta,
    openapi,
    projects,
    reconcilers,
    retention,
    roles,
    sessions,
    streams,
    suspicious,
    tokens,
    users,
)
from proxy.control.route import Act, Route

_document: dict[str, Any] = {}


async def describe(act: Act) -> dict[str, Any]:
    """The OpenAPI document."""
    del act
    if not _document:
        _document.update(openapi.document(ROUTES))
    return _document


ROUTES: Final[tuple[Route, ...]] = (
    *meta.ROUTES,
    Route(
        "GET",
        "/openapi.json",
        "getOpenAPI",
        "This API, as an OpenAPI 3.1 document.",
        describe,
        response=dict[str, Any],
    ),
    *clusters.ROUTES,
    *reconcilers.ROUTES,
    *users.ROUTES,
    *investigating.ROUTES,
    *groups.ROUTES,
    *projects.ROUTES,
    *roles.ROUTES,
    *grants.ROUTES,
    *explain.ROUTES,
    *apply.ROUTES,
    *credentials.ROUTES,
    *tokens.ROUTES,
    *authority.ROUTES,
    *effective.ROUTES,
    *sessions.ROUTES,
    *audit.ROUTES,
    *suspicious.ROUTES,
    *streams.ROUTES,
    *retention.ROUTES,
)
