"""Routes of grants: who has which role where. They are never deleted: they end, or are revoked."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial

import msgspec

from proxy.authz.roles import role_of
from proxy.authz.standing import LOCAL_ADMIN, is_over
from proxy.clock import rfc3339
from proxy.control.entry.fields import (
    Name,
    PagedQuery,
    Reason,
    Text,
    page_of_seen,
    parse_end,
)
from proxy.control.entry.route import About, Act, Detail, Route, Versioned, about_id
from proxy.control.entry.seeing import is_own, reaching
from proxy.control.people.denials import check_denying, check_ending
from proxy.errors import DeniedError, NotFoundError, not_found
from proxy.state.access import Grant, Role, Scope, ScopeKind, SubjectKind
from proxy.state.permission import Permission


class GrantStatus(StrEnum):
    """Whether a grant counts."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ScopeItem(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where something holds. A project, a cluster, or a namespace of a cluster are named."""

    kind: ScopeKind
    project: Text = ""
    cluster: Text = ""
    namespace: Text = ""


class SubjectItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To whom something is granted."""

    kind: SubjectKind
    name: Name


class GrantItem(msgspec.Struct, frozen=True, rename="camel"):
    """A grant."""

    id: str
    subject: SubjectItem
    role: str
    scope: ScopeItem
    status: GrantStatus
    created_at: str
    created_by: str
    reason: str
    expires_at: str = ""
    revoked_at: str = ""
    revoked_by: str = ""
    revoked_reason: str = ""


class GrantList(msgspec.Struct, frozen=True):
    """Grants, newest first."""

    items: tuple[GrantItem, ...]
    next: str
    """Cursor of the next page; empty at the end."""


class GrantQuery(PagedQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which grants. What is given must hold."""

    user: Text = ""
    """To the user directly; what their groups have is asked for by group."""
    group: Text = ""
    role: Text = ""
    cluster: Text = ""
    """For the cluster, or a namespace of it."""
    project: Text = ""
    all: bool = False
    """Also those that expired or were revoked."""


class AddGrantRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A role for somebody, somewhere."""

    subject: SubjectItem
    role: Name
    scope: ScopeItem
    expires_at: Text = ""
    """RFC 3339, or a time from now such as `30d`; empty is for good."""
    reason: Reason = ""


class RevokeGrantRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a grant ends."""

    reason: Reason = ""


async def list_grants(act: Act) -> GrantList:
    """Grants where the caller may look, and those to themselves."""
    query = act.query_as(GrantQuery)
    read = partial(
        act.services.store.people.grants,
        user=query.user or None,
        group=query.group or None,
        role=query.role or None,
        cluster=query.cluster or None,
        project=query.project or None,
        ended=query.all,
    )
    shown, following = await page_of_seen(read, _seen(act), _place, query)
    now = act.services.clock.now()
    return GrantList(tuple(grant_item(grant, now) for grant in shown), following)


async def show(act: Act) -> Versioned:
    """One grant, also when it has ended."""
    grant = await _known(act)
    return Versioned(grant_item(grant, act.services.clock.now()), grant.changed)


async def add(act: Act) -> Versioned:
    """Grant a role; it counts from the next call on."""
    wanted, now = act.body_as(AddGrantRequest), act.services.clock.now()
    scope = scope_of(wanted.scope)
    role = known_role(act, wanted.role)
    act.check_grantable(role, scope)
    check_denying(act, role, wanted.subject.kind, wanted.subject.name)
    made = await act.services.store.people.add_grant(
        subject_kind=wanted.subject.kind,
        subject=wanted.subject.name,
        role=wanted.role,
        scope=scope,
        expires_at=parse_end(wanted.expires_at, now) if wanted.expires_at else None,
        reason=wanted.reason,
        by=act.user,
    )
    await act.services.watcher.refresh()
    item = grant_item(made, now)
    act.changed(None, item)
    return Versioned(item, made.changed)


async def revoke(act: Act) -> Versioned:
    """End a grant; it counts no more from the next call on."""
    grant, now = await _known(act), act.services.clock.now()
    if grant.id == LOCAL_ADMIN.id:
        raise DeniedError(
            "The machine's own administrator cannot lose this: whoever reads the data directory "
            "holds the authority's key.",
            hint="Protect the data directory.",
        )
    act.require(Permission.MANAGE_GRANTS, grant.scope)
    check_ending(act, grant)
    after = await act.services.store.people.revoke_grant(
        grant.id,
        by=act.user,
        reason=act.body_as(RevokeGrantRequest).reason,
        expected=act.unchanged(grant.changed),
    )
    await act.services.watcher.refresh()
    act.changed(grant_item(grant, now), grant_item(after, now))
    return Versioned(grant_item(after, now), after.changed)


def scope_of(item: ScopeItem) -> Scope:
    """A scope as the state has it; whether it makes sense is checked there."""
    return Scope(item.kind, item.project, item.cluster, item.namespace)


def scope_item(scope: Scope) -> ScopeItem:
    """`scope` as it is shown."""
    return ScopeItem(scope.kind, scope.project, scope.cluster, scope.namespace)


def known_role(act: Act, name: str) -> Role:
    """A role by name, built in or not. Raises NotFoundError."""
    role = role_of(act.access, name)
    if role is None:
        raise not_found("role", name)
    return role


def grant_item(grant: Grant, now: float) -> GrantItem:
    """`grant` as it is shown at wall time `now`."""
    status = GrantStatus.EXPIRED if is_over(grant, now) else GrantStatus.ACTIVE
    return GrantItem(
        id=grant.id,
        subject=SubjectItem(grant.subject_kind, grant.subject),
        role=grant.role,
        scope=scope_item(grant.scope),
        status=status if grant.revoked_at is None else GrantStatus.REVOKED,
        created_at=rfc3339(grant.created_at),
        created_by=grant.created_by,
        reason=grant.reason,
        expires_at="" if grant.expires_at is None else rfc3339(grant.expires_at),
        revoked_at="" if grant.revoked_at is None else rfc3339(grant.revoked_at),
        revoked_by=grant.revoked_by,
        revoked_reason=grant.revoked_reason,
    )


def _seen(act: Act) -> Callable[[Grant], bool]:
    within = reaching(act, Permission.LOOK_AT_GRANTS)
    return lambda grant: within(grant.scope) or is_own(act, grant)


def _place(grant: Grant) -> tuple[float, str]:
    return grant.created_at, grant.id


async def _known(act: Act) -> Grant:
    identity = act.param("id")
    unknown = not_found("grant", identity)
    if identity == LOCAL_ADMIN.id:
        grant = LOCAL_ADMIN
    else:
        try:
            grant = await act.services.store.people.grant(identity)
        except NotFoundError:
            raise unknown from None
    if not _seen(act)(grant):
        raise unknown
    return grant


def _about_add(act: Act) -> About:
    wanted = act.body_as(AddGrantRequest)
    detail: Detail = {
        "role": wanted.role,
        "scope": str(scope_of(wanted.scope)),
        "expiresAt": wanted.expires_at,
        "reason": wanted.reason,
    }
    told = {name: value for name, value in detail.items() if value}
    return About(f"{wanted.subject.kind.value} {wanted.subject.name}", told)


ROUTES = (
    Route(
        "GET", "/grants", "listGrants", "List grants.", list_grants,
        query=GrantQuery, response=GrantList,
    ),
    Route(
        "POST", "/grants", "addGrant", "Grant a role to a user or a group.", add,
        action="grant.add", about=_about_add, body=AddGrantRequest, response=GrantItem,
        status=201, versioned=True,
    ),
    Route(
        "GET", "/grants/{id}", "getGrant", "Show a grant.", show,
        response=GrantItem, versioned=True,
    ),
    Route(
        "POST", "/grants/{id}/revoke", "revokeGrant", "End a grant.", revoke,
        action="grant.revoke", about=about_id, body=RevokeGrantRequest, response=GrantItem,
        versioned=True, conditional=True,
    ),
)  # fmt: skip
