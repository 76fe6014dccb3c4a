"""Nobody hands out more than they hold: checked wherever somebody is given what was granted before.

A credential, an API token or a membership is worth all that its user or group was granted. So who
gives one away must hold all of that, in the same scopes.
"""

from proxy.authz.roles import BUILT_IN, role_of
from proxy.authz.standing import is_over
from proxy.control.entry.admitting import LOCAL_ADMIN
from proxy.control.entry.route import Act
from proxy.control.people.denials import check_lifting
from proxy.errors import DeniedError
from proxy.state.access import ORGANIZATION, Grant, Role, Rule, SubjectKind


def granted_to(act: Act, user: str) -> tuple[Grant, ...]:
    """What counts of the grants to a user and the groups they are in, disabled or not."""
    known = act.access.users.get(user)
    groups = known.groups if known is not None else ()
    return _granted(
        act, {(SubjectKind.USER, user), *((SubjectKind.GROUP, group) for group in groups)}
    )


def check_group(act: Act, group: str) -> None:
    """Raise DeniedError when a group was granted what the caller does not hold."""
    _check(act, _granted(act, {(SubjectKind.GROUP, group)}), f"the group {group}")


def check_user(act: Act, user: str) -> None:
    """Raise DeniedError when a user was granted what the caller does not hold.

    Only a holder of everything may act in the name that the machine's own administrator has on
    record.
    """
    if user == act.user and act.known.token is None:
        return
    if user == LOCAL_ADMIN:
        act.check_everything(BUILT_IN["admin"], ORGANIZATION)
    _check(act, granted_to(act, user), user)


def check_role_change(act: Act, before: Role, after: Role) -> None:
    """Raise DeniedError when a role would give what the caller does not hold where it is granted:
    by what it allows, or by what it denies no more."""
    if _gives_no_more(before, after):
        return
    now, lifted = act.services.clock.now(), _lifted(before, after)
    for grant in act.access.grants:
        if grant.role == after.name and not is_over(grant, now):
            act.check_everything(after, grant.scope)
            check_lifting(act, before, lifted, grant.scope)


def _gives_no_more(before: Role, after: Role) -> bool:
    return (
        after.permissions <= before.permissions
        and set(after.rules) <= set(before.rules)
        and set(after.kubernetes_groups) <= set(before.kubernetes_groups)
        and not _lifted(before, after)
    )


def _lifted(before: Role, after: Role) -> tuple[Rule, ...]:
    """What is not denied any more, which is given."""
    return tuple(rule for rule in before.denies if rule not in after.denies)


def _granted(act: Act, subjects: set[tuple[SubjectKind, str]]) -> tuple[Grant, ...]:
    now = act.services.clock.now()
    return tuple(
        grant
        for grant in act.access.grants
        if (grant.subject_kind, grant.subject) in subjects and not is_over(grant, now)
    )


def _check(act: Act, grants: tuple[Grant, ...], whose: str) -> None:
    for grant in grants:
        role = role_of(act.access, grant.role)
        if role is None:
            continue
        try:
            act.check_everything(role, grant.scope)
        except DeniedError as error:
            raise DeniedError(
                f"{act.user!r} may not give away what {whose} was granted: {error.message}",
                hint=error.hint,
            ) from error
