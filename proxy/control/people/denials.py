"""Denials: who may end one, and to whom a role that denies may be granted.

Deny wins, so two things must not be possible. Nobody ends what is denied to themselves: to take a
denial away is to give what it denies, and whoever does it must hold that in the same scope, with all
that is denied to them counted. And nobody shuts out those who stand above them: a role that denies is
granted to those in one's reach only, all of whose grants lie where one holds `grant.manage`. The
machine's own administrator is in nobody's reach and nothing can be denied to them.
"""

from collections.abc import Iterable
from typing import Final

from proxy.authz.holding import scopes_of
from proxy.authz.matching import ANY
from proxy.authz.roles import KUBERNETES, role_of
from proxy.authz.standing import is_over
from proxy.control.entry.route import Act
from proxy.errors import DeniedError
from proxy.state.access import Access, Grant, Place, Role, Rule, Scope, SubjectKind
from proxy.state.permission import Permission

_SECRETS: Final = "secrets"
_Subject = tuple[SubjectKind, str]


def check_ending(act: Act, grant: Grant) -> None:
    """Raise DeniedError where a grant denies what the caller does not hold in its scope."""
    role = role_of(act.access, grant.role)
    if role is not None and not is_over(grant, act.services.clock.now()):
        check_lifting(act, role, role.denies, grant.scope)


def check_leaving(act: Act, groups: Iterable[str]) -> None:
    """Raise DeniedError where somebody who leaves the groups would no longer be denied something
    that the caller does not hold."""
    left = frozenset(groups)
    for grant in act.access.grants:
        if grant.subject_kind is SubjectKind.GROUP and grant.subject in left:
            check_ending(act, grant)


def check_losing(act: Act, project: str, lost: Iterable[Place]) -> None:
    """Raise DeniedError where what is denied in a project would no longer be denied in the places
    that it loses, and the caller does not hold it there."""
    places = tuple(lost)
    for _, role in _denying(act, project):
        for place in places:
            for scope in scopes_of(place):
                check_lifting(act, role, role.denies, scope)


def check_forgetting(act: Act, cluster: str) -> None:
    """Raise DeniedError where something is denied in a cluster, or in a project because of it, that
    the caller does not hold: added again under its name it would be there without the denial."""
    for grant in act.access.grants:
        if grant.scope.cluster == cluster:
            check_ending(act, grant)
    for project in act.access.projects.values():
        check_losing(
            act, project.name, (place for place in project.places if place.cluster == cluster)
        )


def check_gaining(act: Act, project: str) -> None:
    """Raise DeniedError where a project that gains places would deny something there to those who
    are not in the caller's reach."""
    for grant, role in _denying(act, project):
        check_denying(act, role, grant.subject_kind, grant.subject)


def check_lifting(act: Act, role: Role, rules: tuple[Rule, ...], scope: Scope) -> None:
    """Raise DeniedError unless the caller holds, in a scope, what the rules of a role deny there."""
    if not rules:
        return
    permissions = frozenset().union(*map(_special, rules))
    given = Role(role.name, "", role.scopes, permissions=permissions, rules=rules)
    try:
        act.check_everything(given, scope)
    except DeniedError as error:
        raise DeniedError(
            f"{act.user!r} may not take away what {role.name!r} denies in {scope}: that "
            "gives it back, and nobody gives what they do not hold there, or are denied themselves.",
            hint="Somebody who holds it there, and to whom it is not denied, can.",
        ) from error


def check_denying(act: Act, role: Role, kind: SubjectKind, name: str) -> None:
    """Raise DeniedError when a role denies something, and a user, or anybody in a group, is granted
    something where the caller does not hold `grant.manage`."""
    if not role.denies:
        return
    for grant in _held_by(act.access, kind, name, act.services.clock.now()):
        if not act.holds(Permission.MANAGE_GRANTS, grant.scope):
            whose = repr(name) if kind is SubjectKind.USER else f"the group {name!r}"
            raise DeniedError(
                f"{act.user!r} may not deny anything to {whose}: not all that was granted to them, "
                f"or to a member, lies where {act.user!r} holds {Permission.MANAGE_GRANTS}.",
                hint="Somebody with grant.manage in the whole organization can.",
            )


def _held_by(access: Access, kind: SubjectKind, name: str, now: float) -> Iterable[Grant]:
    """What counts of the grants to a user, or to everybody in a group, groups of theirs included."""
    subjects: set[_Subject] = {(kind, name)}
    for user in access.users.values():
        if user.name == name if kind is SubjectKind.USER else name in user.groups:
            subjects.add((SubjectKind.USER, user.name))
            subjects.update((SubjectKind.GROUP, group) for group in user.groups)
    return (
        grant
        for grant in access.grants
        if (grant.subject_kind, grant.subject) in subjects and not is_over(grant, now)
    )


def _denying(act: Act, project: str) -> list[tuple[Grant, Role]]:
    """The grants in a project that deny something, and their roles."""
    now = act.services.clock.now()
    found = (
        (grant, role_of(act.access, grant.role))
        for grant in act.access.grants
        if grant.scope.project == project and not is_over(grant, now)
    )
    return [(grant, role) for grant, role in found if role is not None and role.denies]


def _special(rule: Rule) -> frozenset[Permission]:
    """The permissions that requests of which a rule speaks may need, besides a rule that matches."""
    if any(resource == ANY or "/" in resource for resource in rule.resources):
        return KUBERNETES
    return frozenset({Permission.READ_SECRETS} if _SECRETS in rule.resources else ())
