"""What of the organization a caller gets to see: what their scopes contain, and themselves.

Whoever looks at a part of the organization sees the grants in it, the people and groups that are
granted something there, and the clusters of it. Of what is outside not even a name is shown, and
asking for it by name gives the same answer as asking for what does not exist.
"""

from collections.abc import Callable

from proxy.authz.holding import places
from proxy.control.entry.route import Act
from proxy.state.access import ORGANIZATION, Grant, Scope, ScopeKind, SubjectKind
from proxy.state.permission import Permission


def all_of_it(act: Act, permission: Permission) -> bool:
    """Whether the caller holds a permission in the whole organization."""
    return act.holds(permission, ORGANIZATION)


def reaching(act: Act, permission: Permission) -> Callable[[Scope], bool]:
    """Whether the caller holds a permission in all of a scope, remembered for each."""
    known: dict[Scope, bool] = {}

    def within(scope: Scope) -> bool:
        if scope not in known:
            known[scope] = act.holds(permission, scope)
        return known[scope]

    return within


def seen_clusters(act: Act, permission: Permission) -> frozenset[str]:
    """Names of registered clusters of which the caller holds a permission in some part."""
    names = frozenset(act.services.watcher.current.clusters)
    found: set[str] = set()
    for scope in act.scopes(permission):
        if scope.kind is ScopeKind.ORGANIZATION:
            return names
        found.update(place.cluster for place in places(act.access, scope))
    return names & found


def seen_subjects(act: Act, permission: Permission) -> Callable[[SubjectKind, str], bool]:
    """Whether the caller may see that a user or a group exists."""
    if all_of_it(act, permission):
        return lambda kind, name: True
    within = reaching(act, permission)
    found = {
        (grant.subject_kind, grant.subject) for grant in act.access.grants if within(grant.scope)
    }
    # Who is in a group that is granted something here is granted something here.
    found |= {
        (SubjectKind.USER, user.name)
        for user in act.access.users.values()
        if any((SubjectKind.GROUP, group) in found for group in user.groups)
    }
    found.add((SubjectKind.USER, act.user))
    found |= {(SubjectKind.GROUP, group) for group in act.known.caller.groups}
    return lambda kind, name: (kind, name) in found


def is_own(act: Act, grant: Grant) -> bool:
    """Whether a grant is to the caller, or to a group they are in."""
    if grant.subject_kind is SubjectKind.USER:
        return grant.subject == act.user
    return grant.subject in act.known.caller.groups


def governs(act: Act, permission: Permission, user: str) -> bool:
    """Whether a user is within the caller's reach: all they are granted lies where the caller holds
    a permission. Who is granted nothing, or is not registered, is the organization's."""
    if all_of_it(act, permission):
        return True
    known = act.access.users.get(user)
    if known is None:
        return False
    granted = [
        grant
        for grant in act.access.grants
        if (grant.subject_kind is SubjectKind.USER and grant.subject == user)
        or (grant.subject_kind is SubjectKind.GROUP and grant.subject in known.groups)
    ]
    within = reaching(act, permission)
    return bool(granted) and all(within(grant.scope) for grant in granted)
