"""Giving somebody a role somewhere, and taking it away again."""

from math import inf

from sqlalchemy import insert, or_, select

from proxy.audit.event import new_id
from proxy.clock import rfc3339
from proxy.errors import ConflictError, InvalidInputError, not_found
from proxy.state import custom_roles, granted, groups, projects, rows, tables, users
from proxy.state.access import Grant, Scope, SubjectKind
from proxy.state.change import Change, check_expected
from proxy.state.naming import BUILT_IN_ROLES, check_scope, check_text


async def add(
    change: Change,
    *,
    subject_kind: SubjectKind,
    subject: str,
    role: str,
    scope: Scope,
    expires_at: float | None = None,
    reason: str = "",
    by: str,
) -> Grant:
    """Give a user or a group a role. Where a built-in one can be granted is the caller's to check.

    Raises InvalidInputError for a scope that is none or not the role's, or an end in the past,
    NotFoundError for who, what and where is not known, ConflictError for a disabled user, and
    where a standing grant says the same for at least as long: who revokes one of two would
    believe that it is over.
    """
    check_text("reason", reason)
    check_scope(scope)
    if expires_at is not None and expires_at <= change.now:
        raise InvalidInputError("The grant would have ended already.", hint="Choose a later end.")
    if subject_kind is SubjectKind.USER:
        await users.require_enabled(change.connection, subject)
    else:
        await groups.get(change.connection, subject)
    await _require_role(change, role, scope)
    await _require_scope(change, scope)
    await _require_news(change, subject_kind, subject, role, scope, expires_at)
    made = Grant(
        id=new_id(change.now),
        subject_kind=subject_kind,
        subject=subject,
        role=role,
        scope=scope,
        created_at=change.now,
        created_by=by,
        reason=reason,
        expires_at=expires_at,
        changed=change.version,
    )
    await change.connection.execute(insert(tables.grants).values(rows.grant_row(made)))
    return made


async def revoke(
    change: Change, identity: str, *, by: str, reason: str, expected: int | None = None
) -> Grant:
    """End a grant.

    Raises NotFoundError, PreconditionError, ConflictError when it was revoked before.
    """
    check_text("reason", reason)
    found = await granted.get(change.connection, identity)
    check_expected(f"Grant {identity}", found.changed, expected)
    if found.revoked_at is not None:
        raise ConflictError(f"Grant {identity} was revoked already, by {found.revoked_by!r}.")
    (ended,) = await granted.end(change, tables.grants.c.id == identity, by=by, reason=reason)
    return ended


async def _require_role(change: Change, name: str, scope: Scope) -> None:
    if name in BUILT_IN_ROLES:
        return
    role = await custom_roles.get(change.connection, name)
    if scope.kind not in role.scopes:
        raise InvalidInputError(
            f"Role {name!r} cannot be granted for the scope {str(scope)!r}.",
            hint=f"It can be for: {', '.join(kind.value for kind in role.scopes)}.",
        )


async def _require_news(
    change: Change,
    subject_kind: SubjectKind,
    subject: str,
    role: str,
    scope: Scope,
    expires_at: float | None,
) -> None:
    ends = tables.grants.c.expires_at
    lasting = ends.is_(None) if expires_at is None else or_(ends.is_(None), ends >= expires_at)
    held = granted.of_user if subject_kind is SubjectKind.USER else granted.of_group
    same = await granted.find(
        change.connection,
        held(subject),
        granted.of_role(role, scope),
        granted.standing(change.now),
        lasting,
    )
    if same:
        longest = max(same, key=lambda grant: grant.expires_at or inf)
        until, hint = "for good", "Revoke that grant first."
        if longest.expires_at is not None:
            until = f"until {rfc3339(longest.expires_at)}"
            hint = "Choose a later end, or revoke that grant first."
        raise ConflictError(
            f"{subject_kind.value.capitalize()} {subject!r} has the role {role!r} for "
            f"{str(scope)!r} already, {until}, by grant {longest.id}.",
            hint=hint,
        )


async def _require_scope(change: Change, scope: Scope) -> None:
    if scope.project:
        await projects.get(change.connection, scope.project)
    if scope.cluster:
        known = select(tables.clusters.c.name).where(tables.clusters.c.name == scope.cluster)
        if (await change.connection.execute(known)).one_or_none() is None:
            raise not_found("cluster", scope.cluster)
