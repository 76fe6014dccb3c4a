"""Every route of the control plane, in the order of the OpenAPI document."""

from typing import Any, Final

from proxy.control import authority, clusters, effective, meta, openapi, reconcilers
from proxy.control.audit import events, investigating, retention, sessions, streams, suspicious
from proxy.control.documents import apply
from proxy.control.entry.route import Act, Route
from proxy.control.people import (
    credentials,
    explain,
    grants,
    groups,
    projects,
    roles,
    tokens,
    users,
)

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
    *events.ROUTES,
    *suspicious.ROUTES,
    *streams.ROUTES,
    *retention.ROUTES,
)
