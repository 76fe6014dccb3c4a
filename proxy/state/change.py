"""One open transaction that changes who exists or what is granted, and what its steps share."""

from collections.abc import Callable, Set
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.errors import NotFoundError, PreconditionError
from proxy.state.access import Group, Project, Role, User
from proxy.state.naming import some

T = TypeVar("T", User, Group, Project, Role)


class Change(NamedTuple):
    """What each step of a change works with. All steps commit together, or none does."""

    connection: AsyncConnection
    version: int
    """Of the state, once this is committed."""
    now: float
    """Seconds since the epoch."""


_LOOK_AGAIN: Final = "Look at it again, and repeat the change if it is still right."


def check_expected(what: str, changed: int, expected: int | None) -> None:
    """Refuse to change what the caller has not seen as it is now: PreconditionError.

    `expected` is the version the caller saw; None for a caller who does not mind.
    """
    if expected is not None and expected != changed:
        raise PreconditionError(
            f"{what} was changed in between: it is at version {changed} now.",
            hint=_LOOK_AGAIN,
        )


async def require_known(
    connection: AsyncConnection, table: Table, kind: str, names: Set[str], *, more: str = ""
) -> None:
    """Refuse names that are not in the table: NotFoundError.

    `kind` is what they name; `more` is said behind where to see those there are.
    """
    if not names:
        return
    known = await connection.execute(select(table.c.name).where(table.c.name.in_(names)))
    unknown = names - set(known.scalars())
    if unknown:
        raise NotFoundError(
            f"There is no {kind} {some(unknown)}.",
            hint=f"`kubewitness {kind} list` shows those there are{more}.",
        )


async def write(
    change: Change, table: Table, before: T, after: T, row: Callable[[T], dict[str, Any]]
) -> T:
    """Write what is other than it was, as of this change; returns it as it is then."""
    if after == before:
        return before
    after = msgspec.structs.replace(after, changed=change.version)
    await change.connection.execute(
        update(table).where(table.c.name == before.name).values(row(after))
    )
    return after
