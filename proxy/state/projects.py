"""Projects in their table, and which clusters are in them."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.errors import ConflictError, not_found
from proxy.state import granted, rows, tables
from proxy.state.access import Place, Project
from proxy.state.change import Change, check_expected, require_known, write
from proxy.state.naming import check_label, check_text, sorted_places

_TABLE = tables.projects


async def add(
    change: Change, name: str, *, places: Iterable[Place], description: str = "", by: str
) -> Project:
    """Make a project of clusters that are registered.

    Raises InvalidInputError, NotFoundError for an unknown cluster, ConflictError when there is a
    project of that name.
    """
    check_label("project", name)
    check_text("description", description)
    known = await _known_places(change, places)
    made = Project(name, known, change.now, by, description, change.version)
    try:
        await change.connection.execute(insert(_TABLE).values(rows.project_row(made)))
    except IntegrityError as error:
        raise ConflictError(
            f"There is a project {name!r} already.", hint="Choose another name, or change that one."
        ) from error
    return made


async def edit(
    change: Change,
    name: str,
    *,
    places: Iterable[Place] | None = None,
    description: str | None = None,
    expected: int | None = None,
) -> tuple[Project, Project]:
    """Change what is not None; before and after.

    Raises InvalidInputError, NotFoundError (for a cluster, too), PreconditionError.
    """
    before = await get(change.connection, name)
    check_expected(f"Project {name!r}", before.changed, expected)
    values: dict[str, Any] = {}
    if places is not None:
        values["places"] = await _known_places(change, places)
    if description is not None:
        check_text("description", description)
        values["description"] = description
    after = msgspec.structs.replace(before, **values)
    return before, await write(change, _TABLE, before, after, rows.project_row)


async def remove(change: Change, name: str, *, expected: int | None = None) -> Project:
    """Forget a project; its clusters stay.

    Raises NotFoundError, PreconditionError, ConflictError when there are grants for it.
    """
    found = await get(change.connection, name)
    check_expected(f"Project {name!r}", found.changed, expected)
    await granted.require_unused(
        change,
        f"Project {name!r}",
        tables.grants.c.project == name,
        option=f"--project {name}",
    )
    await change.connection.execute(delete(_TABLE).where(_TABLE.c.name == name))
    return found


async def leave(change: Change, cluster: str) -> None:
    """Take a cluster out of every project."""
    for project in await everything(change.connection):
        rest = tuple(place for place in project.places if place.cluster != cluster)
        left = msgspec.structs.replace(project, places=rest)
        await write(change, _TABLE, project, left, rows.project_row)


async def everything(connection: AsyncConnection) -> list[Project]:
    """Every project, by name."""
    found = (await connection.execute(select(*rows.PROJECT))).all()
    return sorted((rows.project(row) for row in found), key=lambda item: item.name)


async def get(connection: AsyncConnection, name: str) -> Project:
    """One project. Raises NotFoundError."""
    query = select(*rows.PROJECT).where(_TABLE.c.name == name)
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        raise not_found("project", name)
    return rows.project(found)


async def _known_places(change: Change, places: Iterable[Place]) -> tuple[Place, ...]:
    wanted = sorted_places(places)
    names = {place.cluster for place in wanted}
    await require_known(change.connection, tables.clusters, "cluster", names)
    return wanted
