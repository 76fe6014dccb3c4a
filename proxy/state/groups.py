"""Registered groups in their table."""

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.errors import ConflictError, not_found
from proxy.state import granted, rows, tables
from proxy.state.access import Group
from proxy.state.change import Change, check_expected, write
from proxy.state.naming import check_label, check_subject, check_text

_TABLE = tables.groups


async def add(change: Change, name: str, *, description: str = "", by: str) -> Group:
    """Register a group. Raises InvalidInputError, ConflictError when there is one of that name."""
    check_label("group", name)
    check_subject("group", name)
    check_text("description", description)
    made = Group(name, change.now, by, description, change.version)
    try:
        await change.connection.execute(insert(_TABLE).values(msgspec.structs.asdict(made)))
    except IntegrityError as error:
        raise ConflictError(
            f"There is a group {name!r} already.", hint="Choose another name, or change that one."
        ) from error
    return made


async def edit(
    change: Change, name: str, *, description: str, expected: int | None = None
) -> tuple[Group, Group]:
    """Describe a group anew; before and after. Raises NotFoundError, PreconditionError."""
    check_text("description", description)
    before = await get(change.connection, name)
    check_expected(f"Group {name!r}", before.changed, expected)
    after = msgspec.structs.replace(before, description=description)
    return before, await write(change, _TABLE, before, after, msgspec.structs.asdict)


async def remove(change: Change, name: str, *, expected: int | None = None) -> Group:
    """Forget a group; nobody is in it any more.

    Raises NotFoundError, PreconditionError, ConflictError when something is granted to it.
    """
    found = await get(change.connection, name)
    check_expected(f"Group {name!r}", found.changed, expected)
    await granted.require_unused(
        change, f"Group {name!r}", granted.of_group(name), option=f"--group {name}"
    )
    await change.connection.execute(delete(_TABLE).where(_TABLE.c.name == name))
    await _leave(change, name)
    return found


async def _leave(change: Change, name: str) -> None:
    table = tables.users
    query = select(table.c.name, table.c.groups).where(table.c.groups.contains(rows.text(name)))
    for user, encoded in (await change.connection.execute(query)).all():
        rest = tuple(group for group in rows.strings(encoded) if group != name)
        values = {"groups": rows.text(rest), "changed": change.version}
        await change.connection.execute(update(table).where(table.c.name == user).values(values))


async def get(connection: AsyncConnection, name: str) -> Group:
    """One group. Raises NotFoundError."""
    query = select(*rows.GROUP).where(_TABLE.c.name == name)
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        raise not_found("group", name, f"; `kubewitness group add {name}` makes it")
    return Group(*found)
