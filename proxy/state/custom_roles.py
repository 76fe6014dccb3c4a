"""Custom roles in their table. Those that are built in are code, in `proxy.authz.roles`."""

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.errors import ConflictError, InvalidInputError, not_found
from proxy.state import granted, rows, tables
from proxy.state.access import ClusterAccess, Role
from proxy.state.change import Change, check_expected, write
from proxy.state.naming import (
    BUILT_IN_ROLES,
    check_label,
    check_rule,
    check_subject,
    check_text,
    some,
)

_TABLE = tables.roles


async def add(change: Change, role: Role) -> Role:
    """Make a role; when it was made and changed is set here.

    Raises InvalidInputError, ConflictError when there is a role of that name.
    """
    made = _sound(role, created_at=change.now, created_by=role.created_by, changed=change.version)
    try:
        await change.connection.execute(insert(_TABLE).values(rows.role_row(made)))
    except IntegrityError as error:
        raise ConflictError(
            f"There is a role {role.name!r} already.",
            hint="Choose another name, or change that one.",
        ) from error
    return made


async def replace(change: Change, role: Role, *, expected: int | None = None) -> tuple[Role, Role]:
    """Let a role give something else, to all who have it; before and after.

    Raises InvalidInputError, NotFoundError, PreconditionError, ConflictError when it is granted
    where it could no longer be.
    """
    before = await get(change.connection, role.name)
    check_expected(f"Role {role.name!r}", before.changed, expected)
    after = _sound(
        role,
        created_at=before.created_at,
        created_by=before.created_by,
        changed=before.changed,
    )
    allowed = [kind.value for kind in after.scopes]
    await granted.require_unused(
        change,
        f"Role {role.name!r} for other scopes than {some(allowed)}",
        (tables.grants.c.role == role.name) & tables.grants.c.scope_kind.not_in(allowed),
        option=f"--role {role.name}",
    )
    return before, await write(change, _TABLE, before, after, rows.role_row)


async def remove(change: Change, name: str, *, expected: int | None = None) -> Role:
    """Forget a role.

    Raises NotFoundError, PreconditionError, ConflictError when it is granted to somebody.
    """
    found = await get(change.connection, name)
    check_expected(f"Role {name!r}", found.changed, expected)
    await granted.require_unused(
        change, f"Role {name!r}", tables.grants.c.role == name, option=f"--role {name}"
    )
    await change.connection.execute(delete(_TABLE).where(_TABLE.c.name == name))
    return found


async def get(connection: AsyncConnection, name: str) -> Role:
    """One custom role. Raises NotFoundError, ConflictError for a built-in one."""
    if name in BUILT_IN_ROLES:
        raise ConflictError(
            f"Role {name!r} is built in and cannot be changed.",
            hint="Make a role of your own: `kubewitness role add`.",
        )
    query = select(*rows.ROLE).where(_TABLE.c.name == name)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise not_found("role", name)
    return rows.role(found)


def _sound(role: Role, *, created_at: float, created_by: str, changed: int) -> Role:
    check_label("role", role.name)
    check_text("description", role.description)
    if role.name in BUILT_IN_ROLES:
        raise ConflictError(f"Role {role.name!r} is built in.", hint="Choose another name.")
    if not role.scopes:
        raise InvalidInputError(
            f"Role {role.name!r} could be granted nowhere.", hint="Say at which scopes it can be."
        )
    if role.built_in or role.clusters is not ClusterAccess.NONE:
        raise InvalidInputError(
            f"Role {role.name!r} is to have all of a cluster, as only built-in roles do.",
            hint="Say by rules what it may do in clusters.",
        )
    for where, rules in (("rules", role.rules), ("denies", role.denies)):
        for number, rule in enumerate(rules):
            check_rule(rule, f"{where}[{number}]")
    for group in role.kubernetes_groups:
        check_subject("group", group)
    return msgspec.structs.replace(
        role,
        scopes=tuple(sorted(set(role.scopes))),
        kubernetes_groups=tuple(sorted(set(role.kubernetes_groups))),
        created_at=created_at,
        created_by=created_by,
        changed=changed,
    )
