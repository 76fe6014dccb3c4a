"""Grants that are in the table: found, listed, and ended together with what they were about."""

import msgspec
from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.errors import ConflictError, not_found
from proxy.state import rows, tables
from proxy.state.access import Grant, Scope, SubjectKind
from proxy.state.change import Change
from proxy.state.naming import some

_TABLE = tables.grants


def standing(now: float) -> ColumnElement[bool]:
    """Of grants that were not revoked and have not expired at `now`."""
    expires = _TABLE.c.expires_at
    return and_(_TABLE.c.revoked_at.is_(None), or_(expires.is_(None), expires > now))


def of_user(name: str) -> ColumnElement[bool]:
    """Of grants to one user."""
    return and_(_TABLE.c.subject_kind == SubjectKind.USER.value, _TABLE.c.subject == name)


def of_group(name: str) -> ColumnElement[bool]:
    """Of grants to one group."""
    return and_(_TABLE.c.subject_kind == SubjectKind.GROUP.value, _TABLE.c.subject == name)


def of_role(role: str, scope: Scope) -> ColumnElement[bool]:
    """Of grants of one role at exactly one scope."""
    return and_(
        _TABLE.c.role == role,
        _TABLE.c.scope_kind == scope.kind.value,
        _TABLE.c.project == scope.project,
        _TABLE.c.cluster == scope.cluster,
        _TABLE.c.namespace == scope.namespace,
    )


def listed(
    *,
    now: float,
    user: str | None = None,
    group: str | None = None,
    role: str | None = None,
    cluster: str | None = None,
    project: str | None = None,
    ended: bool = False,
) -> list[ColumnElement[bool]]:
    """What grants have to fulfil to be in a list; each None is not asked for."""
    wanted = [
        condition
        for given, condition in (
            (user, of_user(user or "")),
            (group, of_group(group or "")),
            (role, _TABLE.c.role == role),
            (cluster, _TABLE.c.cluster == cluster),
            (project, _TABLE.c.project == project),
        )
        if given is not None
    ]
    return wanted if ended else [*wanted, standing(now)]


async def page(
    connection: AsyncConnection,
    wanted: list[ColumnElement[bool]],
    *,
    after: tuple[float, str] | None,
    limit: int,
) -> list[Grant]:
    """At most `limit` grants, newest first, from beyond `after`: when one was made, and its id."""
    query = select(*rows.GRANT).where(*wanted)
    query = rows.newest(query, _TABLE.c.created_at, _TABLE.c.id, after=after, limit=limit)
    return [rows.grant(row) for row in (await connection.execute(query)).all()]


async def find(connection: AsyncConnection, *wanted: ColumnElement[bool]) -> list[Grant]:
    """Grants that fulfil all of it, the oldest first."""
    query = select(*rows.GRANT).where(*wanted).order_by(_TABLE.c.created_at, _TABLE.c.id)
    return [rows.grant(row) for row in (await connection.execute(query)).all()]


async def get(connection: AsyncConnection, identity: str) -> Grant:
    """One grant. Raises NotFoundError."""
    found = await find(connection, _TABLE.c.id == identity)
    if not found:
        raise not_found("grant", identity)
    return found[0]


async def require_unused(
    change: Change, what: str, wanted: ColumnElement[bool], *, option: str
) -> None:
    """Refuse to remove what standing grants are about: ConflictError that names some.

    `option` is of `kubewitness grant list`, to see them all.
    """
    found = await find(change.connection, wanted, standing(change.now))
    if found:
        names = {f"{grant.subject_kind.value} {grant.subject}" for grant in found}
        raise ConflictError(
            f"{what} is in use: there are grants to {some(names)}.",
            hint=f"Revoke them first; `kubewitness grant list {option}` shows them.",
        )


async def end(change: Change, *wanted: ColumnElement[bool], by: str, reason: str) -> list[Grant]:
    """Revoke all that fulfil it and were not revoked, expired ones too; returns them as they are now."""
    revoked = (*wanted, _TABLE.c.revoked_at.is_(None))
    found = await find(change.connection, *revoked)
    values = {
        "revoked_at": change.now,
        "revoked_by": by,
        "revoked_reason": reason,
        "changed": change.version,
    }
    if found:
        await change.connection.execute(update(_TABLE).where(*revoked).values(values))
    return [msgspec.structs.replace(grant, **values) for grant in found]
