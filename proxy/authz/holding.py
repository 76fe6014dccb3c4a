"""What somebody may do here: permissions of the control plane, each in the scope of its grant.

No escalation: whoever grants must hold, in that scope, all that the role gives (`check_grantable`).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from proxy.audit.index.query import Within
from proxy.authz.applying import reach
from proxy.authz.roles import EVERYBODY, KUBERNETES, ORGANIZATION_ONLY, reaches_clusters, role_of
from proxy.authz.standing import Caller, is_over, standing
from proxy.errors import DeniedError, InvalidInputError
from proxy.state.access import (
    ORGANIZATION,
    Access,
    ClusterAccess,
    Grant,
    Place,
    Role,
    Scope,
    ScopeKind,
)
from proxy.state.permission import Permission

_RANK: Final[Mapping[ClusterAccess, int]] = {
    ClusterAccess.NONE: 0,
    ClusterAccess.READ: 1,
    ClusterAccess.FULL: 2,
}
_Held = tuple[Grant, Role]


def holds(
    access: Access, caller: Caller, permission: Permission, now: float, at: Scope | None = None
) -> bool:
    """Whether the caller holds a permission in all of the scope `at`, or anywhere without one.

    `now` is wall time, seconds since the epoch.
    """
    if permission in EVERYBODY:
        return True
    found = scopes(access, caller, permission, now)
    return bool(found) if at is None else any(covers(access, scope, at) for scope in found)


def require(
    access: Access, caller: Caller, permission: Permission, now: float, at: Scope | None = None
) -> None:
    """Raise DeniedError saying what is missing, unless the caller `holds` the permission."""
    if not holds(access, caller, permission, now, at):
        where = "" if at is None else f" in {at}"
        raise DeniedError(
            f"{caller.user!r} may not do this: it needs the permission {permission}{where}.",
            hint="Somebody with grant.manage there can grant a role that has it: `kubewitness grant add`.",
        )


def scopes(access: Access, caller: Caller, permission: Permission, now: float) -> tuple[Scope, ...]:
    """Where the caller holds a permission, each scope once."""
    found = {
        grant.scope: None
        for grant, role in _held(access, caller, now)
        if permission in given(role, grant.scope)
    }
    return tuple(found)


def given(role: Role, scope: Scope) -> frozenset[Permission]:
    """The permissions that a role gives when it is granted in a scope."""
    if scope.kind is ScopeKind.ORGANIZATION:
        return role.permissions
    return role.permissions - ORGANIZATION_ONLY


def covers(access: Access, outer: Scope, inner: Scope) -> bool:
    """Whether all of `inner` lies in `outer`."""
    if outer.kind is ScopeKind.ORGANIZATION or outer == inner:
        return True
    if inner.kind is ScopeKind.ORGANIZATION:
        return False
    if inner.kind is ScopeKind.PROJECT:
        # What a project holds may change: nothing narrower than the organization has it for good.
        return False
    reaches, namespaces = reach(access, outer, inner.cluster)
    if not reaches or namespaces is None:
        return reaches
    return inner.kind is ScopeKind.NAMESPACE and inner.namespace in namespaces


def within(access: Access, caller: Caller, now: float) -> Within:
    """Which records the caller may see: their own, and those that `audit.look` lets them see."""
    return within_scopes(
        access,
        caller.user,
        scopes(access, caller, Permission.LOOK_AT_AUDIT, now),
        system=holds(access, caller, Permission.LOOK_AT_SYSTEM_LOG, now, ORGANIZATION),
    )


def within_scopes(access: Access, user: str, held: Iterable[Scope], *, system: bool) -> Within:
    """A user's own records, and those of the scopes; with `system` those of no call, too."""
    found = list(held)
    some = [place for scope in found for place in places(access, scope)]
    return Within(
        user=user,
        clusters=tuple(sorted({place.cluster for place in some if not place.namespaces})),
        namespaces=tuple(
            sorted({(place.cluster, name) for place in some for name in place.namespaces})
        ),
        calls=ORGANIZATION in found,
        system=system,
    )


def check_grantable(access: Access, caller: Caller, role: Role, scope: Scope, now: float) -> None:
    """Refuse a grant that would give more than the caller holds in that scope.

    Raises InvalidInputError when the role cannot be granted there at all, DeniedError saying what
    the caller lacks.
    """
    if scope.kind not in role.scopes:
        possible = " or ".join(kind.value for kind in role.scopes)
        raise InvalidInputError(
            f"The role {role.name!r} cannot be granted in {scope}.",
            hint=f"It is for the scope {possible}.",
        )
    _check_gift(access, caller, role, scope, now)


def check_places(
    access: Access, caller: Caller, project: str, added: Iterable[Place], now: float
) -> None:
    """Refuse to bring clusters or namespaces into a project: whoever has a role in it gains them.

    `added` are places, or namespaces of places, that the project did not have. Raises DeniedError
    unless the caller could grant, there, every role that stands in the project.
    """
    roles = {
        grant.role: role
        for grant in access.grants
        if grant.scope.project == project and not is_over(grant, now)
        if (role := role_of(access, grant.role)) is not None
    }
    for scope in (scope for place in added for scope in scopes_of(place)):
        require(access, caller, Permission.MANAGE_GRANTS, now, scope)
        for role in roles.values():
            _check_gift(access, caller, role, scope, now)


def check_everything(access: Access, caller: Caller, role: Role, scope: Scope, now: float) -> None:
    """Refuse to give away, in a scope, what the caller does not hold there: DeniedError.

    For what is worth all that somebody was granted, such as a credential in their name.
    """
    for permission in sorted(given(role, scope) - EVERYBODY - KUBERNETES):
        if not holds(access, caller, permission, now, scope):
            raise _more(caller, role, scope, f"the permission {permission}")
    if reaches_clusters(role) or role.kubernetes_groups:
        _check_clusters(access, caller, role, scope, now)


def _check_gift(access: Access, caller: Caller, role: Role, scope: Scope, now: float) -> None:
    """Refuse to grant, in a scope, what the caller does not hold there."""
    require(access, caller, Permission.MANAGE_GRANTS, now, scope)
    check_everything(access, caller, role, scope, now)


def _check_clusters(access: Access, caller: Caller, role: Role, scope: Scope, now: float) -> None:
    """What the role gives in clusters must be in one grant of the caller that covers the scope."""
    held = _held(access, caller, now)
    if any(other.denies and _overlap(access, grant.scope, scope) for grant, other in held):
        raise _more(caller, role, scope, "what a role of theirs denies them")
    for grant, other in held:
        if covers(access, grant.scope, scope):
            whole = grant.scope == ORGANIZATION or not any(
                place.namespaces for place in places(access, grant.scope)
            )
            if _includes(other, role, whole=whole):
                return
    raise _more(caller, role, scope, "what it allows in clusters")


def _includes(mine: Role, other: Role, *, whole: bool) -> bool:
    """Whether a role allows in clusters all that another does.

    Groups of a cluster may mean anything in all of it: whoever has everything in the `whole` of it
    has them too, others only those that their role names.
    """
    full = mine.clusters is ClusterAccess.FULL
    if not (full and whole) and not set(other.kubernetes_groups) <= set(mine.kubernetes_groups):
        return False
    if not other.permissions & KUBERNETES <= mine.permissions:
        return False
    as_much = _RANK[other.clusters] <= _RANK[mine.clusters]
    return full or (as_much and set(other.rules) <= set(mine.rules))


def _overlap(access: Access, one: Scope, other: Scope) -> bool:
    """Whether two scopes may have anything in common."""
    if ORGANIZATION in (one, other) or one == other:
        return True
    return any(
        place.cluster == their.cluster
        and (
            not place.namespaces
            or not their.namespaces
            or not set(place.namespaces).isdisjoint(their.namespaces)
        )
        for place in places(access, one)
        for their in places(access, other)
    )


def places(access: Access, scope: Scope) -> tuple[Place, ...]:
    """The clusters of a scope, whole or by namespaces; none of the organization's."""
    if scope.kind is ScopeKind.PROJECT:
        project = access.projects.get(scope.project)
        return () if project is None else project.places
    if scope.kind is ScopeKind.CLUSTER:
        return (Place(scope.cluster),)
    if scope.kind is ScopeKind.NAMESPACE:
        return (Place(scope.cluster, (scope.namespace,)),)
    return ()


def scopes_of(place: Place) -> tuple[Scope, ...]:
    """A place of a project as scopes of grants."""
    if not place.namespaces:
        return (Scope(ScopeKind.CLUSTER, cluster=place.cluster),)
    return tuple(
        Scope(ScopeKind.NAMESPACE, cluster=place.cluster, namespace=name)
        for name in place.namespaces
    )


def _held(access: Access, caller: Caller, now: float) -> list[_Held]:
    found = ((grant, role_of(access, grant.role)) for grant in standing(access, caller, now))
    return [(grant, role) for grant, role in found if role is not None]


def _more(caller: Caller, role: Role, scope: Scope, what: str) -> DeniedError:
    return DeniedError(
        f"{caller.user!r} may not grant {role.name!r} in {scope}: it would give {what}, and nobody gives more than they hold there.",
        hint="Ask somebody who holds it, or grant a narrower role.",
    )
