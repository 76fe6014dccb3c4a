"""A route of the REST API, and an act: one request to it, understood and allowed.

Everything about a route that more than one place must agree on (router, permissions, record,
OpenAPI document) stands in its `Route`, so that none of them can be forgotten.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from proxy.audit.index.query import Within
from proxy.control.entry.caller import Known
from proxy.control.entry.services import Services
from proxy.errors import DeniedError
from proxy.state.access import ORGANIZATION, Access, Place, Role, Scope
from proxy.state.permission import Permission
from proxy.state.snapshot import Credential

Detail = dict[str, Any]
PREFIX: Final = "/api/v1"
JSON: Final = "application/json"
STREAM: Final = web.RequestKey("stream", web.StreamResponse)
"""The answer of a request that has begun to stream: it can only be broken off from then on."""
Q = TypeVar("Q")


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For routes that take no query parameters."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """A thing, and the version of the state at which it last changed: its ETag."""

    value: Any
    version: int


@dataclass(frozen=True, slots=True)
class Act:
    """One request of an authenticated, authorised caller, with its input validated."""

    id: str
    """Audit id of its system events."""
    services: Services
    request: web.Request
    known: Known
    """The caller. That they may use the route somewhere says nothing of where: see `require`."""
    source: str
    """Address of the caller's connection."""
    query: Any = None
    body: Any = None
    detail: Detail = field(default_factory=dict)
    """Handlers add what the outcome should say; it starts as what the intent said."""

    @property
    def user(self) -> str:
        """The caller's name."""
        return self.known.user

    @property
    def credential(self) -> Credential | None:
        """Of the caller's connection; None when an API token alone says who they are."""
        return self.known.credential

    @property
    def access(self) -> Access:
        """Who exists and what is granted, as known now."""
        return self.services.watcher.current.access

    def still_known(self) -> bool:
        """Whether the caller would be let in now, for what goes on for long."""
        return self.known.stands(self.services.watcher.current, self.services.clock.now())

    def holds(self, permission: Permission, at: Scope | None = None) -> bool:
        """Whether the caller holds a permission in all of `at`; with None, anywhere."""
        return self.known.holds(self.access, permission, self.services.clock.now(), at)

    def scopes(self, permission: Permission) -> tuple[Scope, ...]:
        """Where the caller holds a permission."""
        return self.known.scopes(self.access, permission, self.services.clock.now())

    def require(self, permission: Permission, at: Scope = ORGANIZATION) -> None:
        """Raise DeniedError unless the caller holds a permission in all of `at`."""
        if not self.holds(permission, at):
            raise DeniedError(
                f"{self.user!r} may not do this: it needs the permission {permission} at {at}.",
                hint=f"`kubewitness grant list --user {self.user}` shows what they were granted.",
            )

    def within(self, permission: Permission = Permission.LOOK_AT_AUDIT) -> Within:
        """Which records the caller may see: their own, and those where they hold a permission."""
        return self.known.within(self.access, permission, self.services.clock.now())

    def check_grantable(self, role: Role, scope: Scope) -> None:
        """Raise DeniedError unless the caller may hand out a role there."""
        self.known.check_grantable(self.access, role, scope, self.services.clock.now())

    def check_everything(self, role: Role, scope: Scope) -> None:
        """Raise DeniedError unless the caller holds all that a role gives there."""
        self.known.check_everything(self.access, role, scope, self.services.clock.now())

    def check_places(self, project: str, added: tuple[Place, ...]) -> None:
        """Raise DeniedError unless the caller may let `added` belong to a project, whose roles reach
        there from then on."""
        self.known.check_places(self.access, project, added, self.services.clock.now())

    def unchanged(self, version: int) -> int | None:
        """For `expected` of a change: `version` of the thing, when the caller asked for that one.

        None when the request names no version (no `If-Match`, or `*`).
        """
        given = self.request.headers.getall("If-Match", [])
        tags = {tag.strip() for value in given for tag in value.split(",")} - {""}
        if not tags or "*" in tags:
            return None
        # What is asked for is another version: `-1` is none that a thing ever has.
        return version if f'"{version}"' in tags else -1

    def changed(self, before: msgspec.Struct | None, after: msgspec.Struct | None) -> None:
        """Put on record what a change did: the thing before and after, as the API shows it."""
        for name, thing in (("before", before), ("after", after)):
            if thing is not None:
                self.detail[name] = msgspec.to_builtins(thing)

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


def about_new(act: Act) -> About:
    """For acts that make what the body names, with the reason for it."""
    return About(str(getattr(act.body, "name", "")), reason_of(act))


def about_name(act: Act) -> About:
    """For acts on what the path names, with the reason for it."""
    return About(act.param("name"), reason_of(act))


def about_id(act: Act) -> About:
    """For acts on what the path has the id of, with the reason for it."""
    return About(act.param("id"), reason_of(act))


def reason_of(act: Act) -> Detail:
    """The reason that body or query give, as a detail of the record; nothing without one."""
    reason = getattr(act.body, "reason", "") or getattr(act.query, "reason", "")
    return {"reason": reason} if reason else {}


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
    versioned: bool = False
    """The answer is one thing and has its version as an ETag: the handler returns `Versioned`."""
    conditional: bool = False
    """`If-Match` is honoured."""

    @property
    def full_path(self) -> str:
        """The path from the root."""
        return PREFIX + self.path
