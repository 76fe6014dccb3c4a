"""A route of the REST API, and an act: one request to it, understood and allowed.

Everything about a route that more than one place must agree on (router, permissions, record,
OpenAPI document) stands in its `Route`, so that none of them can be forgotten.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from proxy.control.services import Services
from proxy.state.snapshot import Credential

Detail = dict[str, str | int | bool | list[str]]
PREFIX: Final = "/api/v1"
JSON: Final = "application/json"
STREAM: Final = web.RequestKey("stream", web.StreamResponse)
"""The answer of a request that has begun to stream: it can only be broken off from then on."""
Q = TypeVar("Q")


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For routes that take no query parameters."""


@dataclass(frozen=True, slots=True)
class Act:
    """One request of an authenticated, authorised caller, with its input validated."""

    id: str
    """Audit id of its system events."""
    services: Services
    request: web.Request
    credential: Credential
    """Of the caller."""
    source: str
    """Address of the caller's connection."""
    query: Any = None
    body: Any = None
    detail: Detail = field(default_factory=dict)
    """Handlers add what the outcome should say; it starts as what the intent said."""

    def param(self, name: str) -> str:
        """A segment of the path."""
        return str(self.request.match_info[name])

    def query_as(self, kind: type[Q]) -> Q:
        """The validated query parameters."""
        assert isinstance(self.query, kind)  # noqa: S101  # for the type checker: the route says so
        return self.query

    def body_as(self, kind: type[Q]) -> Q:
        """The validated body."""
        assert isinstance(self.body, kind)  # noqa: S101  # for the type checker: the route says so
        return self.body


@dataclass(frozen=True, slots=True)
class About:
    """What an intent says: the thing acted on, and details that hold no secret."""

    target: str = ""
    detail: Detail = field(default_factory=dict)


def about_nothing(act: Act) -> About:
    """For acts that have no target."""
    del act
    return About()


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path."""

    method: str
    path: str
    """Below `/api/v1`."""
    operation: str
    """`operationId` of the OpenAPI document."""
    summary: str
    handler: Callable[[Act], Awaitable[Any]]
    """Returns the response value, or a stream it has already sent."""
    action: str = ""
    """Name in the system events; empty for what reveals and changes nothing of the record."""
    about: Callable[[Act], About] = about_nothing
    query: type[msgspec.Struct] = NoQuery
    body: type[msgspec.Struct] | None = None
    response: Any = None
    """Type of the JSON response; None for streams and empty answers."""
    status: int = 200
    media: str = JSON

    @property
    def full_path(self) -> str:
        """The path from the root."""
        return PREFIX + self.path
