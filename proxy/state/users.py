"""Registered users in their table. Who is removed stays there, disabled."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.errors import ConflictError, not_found
from proxy.state import credentials, granted, rows, tables
from proxy.state.access import Grant, User, UserKind
from proxy.state.change import Change, check_expected, require_known, write
from proxy.state.naming import check_subject, check_text
from proxy.state.snapshot import Credential

_TABLE = tables.users


class RemovedUser(msgspec.Struct, frozen=True):
    """Somebody who was removed, and what ended with that."""

    user: User
    """As they are now."""
    credentials: list[Credential]
    grants: list[Grant]
    tokens: list[str]
    """Ids."""


class RevokedAccess(msgspec.Struct, frozen=True):
    """What somebody logged in with until now."""

    credentials: list[Credential]
    tokens: list[str]
    """Ids."""


async def add(
    change: Change,
    name: str,
    *,
    kind: UserKind,
    groups: Iterable[str] = (),
    display_name: str = "",
    by: str,
) -> User:
    """Register a user, in groups that are registered.

    Raises InvalidInputError, NotFoundError for an unknown group, ConflictError when they are
    registered, removed ones too.
    """
    check_subject("user", name)
    check_text("display name", display_name)
    known = await _known_groups(change, groups)
    made = User(name, kind, known, change.now, by, display_name, changed=change.version)
    try:
        await change.connection.execute(insert(_TABLE).values(rows.user_row(made)))
    except IntegrityError as error:
        raise ConflictError(
            f"There is a user {name!r} already.",
            hint="Change that one; one that was removed can be enabled again.",
        ) from error
    return made


async def edit(
    change: Change,
    name: str,
    *,
    groups: Iterable[str] | None = None,
    display_name: str | None = None,
    disabled: bool | None = None,
    reason: str = "",
    expected: int | None = None,
) -> tuple[User, User]:
    """Change what is not None; before and after. `reason` is of being disabled.

    Raises InvalidInputError, NotFoundError (for a group, too), PreconditionError.
    """
    before = await get(change.connection, name)
    check_expected(f"User {name!r}", before.changed, expected)
    values: dict[str, Any] = {}
    if groups is not None:
        values["groups"] = await _known_groups(change, groups)
    if display_name is not None:
        check_text("display name", display_name)
        values["display_name"] = display_name
    if disabled is not None and disabled != (before.disabled_at is not None):
        values |= _disabled(change.now, reason) if disabled else _disabled(None, "")
    after = msgspec.structs.replace(before, **values)
    return before, await write(change, _TABLE, before, after, rows.user_row)


async def remove(
    change: Change, name: str, *, by: str, reason: str, expected: int | None = None
) -> RemovedUser:
    """Disable a user, take them out of every group, and revoke all they had.

    Raises NotFoundError, PreconditionError.
    """
    check_text("reason", reason)
    before = await get(change.connection, name)
    check_expected(f"User {name!r}", before.changed, expected)
    values = {"groups": ()} | ({} if before.disabled_at else _disabled(change.now, reason))
    wanted = msgspec.structs.replace(before, **values)
    after = await write(change, _TABLE, before, wanted, rows.user_row)
    ended = await revoke(change, name, by=by, reason=reason)
    grants = await granted.end(change, granted.of_user(name), by=by, reason=reason)
    return RemovedUser(after, ended.credentials, grants, ended.tokens)


async def revoke(change: Change, name: str, *, by: str, reason: str) -> RevokedAccess:
    """Revoke everything a user logs in with, of every usage, registered or not."""
    wanted = credentials.of_user(name, change.now)
    found = await credentials.find(change.connection, wanted)
    revoked = await credentials.revoke(
        change.connection, found, wanted, now=change.now, version=change.version, reason=reason
    )
    return RevokedAccess(revoked, await _revoke_tokens(change, name, by, reason))


async def get(connection: AsyncConnection, name: str) -> User:
    """One user. Raises NotFoundError."""
    query = select(*rows.USER).where(_TABLE.c.name == name)
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        raise not_found("user", name, f"; `kubewitness user add {name}` registers them")
    return rows.user(found)


async def require_enabled(connection: AsyncConnection, name: str) -> User:
    """One user who is not disabled. Raises NotFoundError, ConflictError."""
    found = await get(connection, name)
    _refuse(name, found.disabled_at)
    return found


async def refuse_disabled(connection: AsyncConnection, name: str) -> None:
    """ConflictError for a user who is registered and disabled; others may be unknown."""
    query = select(_TABLE.c.disabled_at).where(_TABLE.c.name == name)
    _refuse(name, (await connection.execute(query)).scalar_one_or_none())


def _refuse(name: str, disabled_at: float | None) -> None:
    if disabled_at is not None:
        raise ConflictError(
            f"User {name!r} is disabled.", hint=f"`kubewitness user enable {name}` ends that."
        )


def _disabled(at: float | None, reason: str) -> dict[str, Any]:
    check_text("reason", reason)
    return {"disabled_at": at, "disabled_reason": reason}


async def _known_groups(change: Change, names: Iterable[str]) -> tuple[str, ...]:
    wanted = set(names)
    more = "; `kubewitness group add` makes one"
    await require_known(change.connection, tables.groups, "group", wanted, more=more)
    return tuple(sorted(wanted))


async def _revoke_tokens(change: Change, name: str, by: str, reason: str) -> list[str]:
    table = tables.tokens
    wanted = (table.c.user == name, table.c.revoked_at.is_(None), table.c.not_after > change.now)
    found = (await change.connection.execute(select(table.c.id).where(*wanted))).scalars().all()
    values = {"revoked_at": change.now, "revoked_by": by, "revoked_reason": reason}
    await change.connection.execute(
        update(table).where(*wanted).values(values | {"changed": change.version})
    )
    return sorted(found)
