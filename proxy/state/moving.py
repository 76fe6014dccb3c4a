"""The embedded state taken to PostgreSQL: every row as it is, all of them or none."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.errors import ConflictError, NotFoundError
from proxy.state import database, tables
from proxy.state.transactions import translated

LIMIT: Final = 300.0
"""Seconds it may take."""


async def move(source: Path, url: str) -> Mapping[str, int]:
    """Copy the state in the SQLite file `source` to the database at `url`; rows by table.

    Nothing may use either meanwhile. `source` stays as it is. Raises NotFoundError when it is not
    there, ConflictError when the database has a state already, SettingsError when its schema is not
    this version's, UnavailableError when it does not answer.
    """
    if not await asyncio.to_thread(source.is_file):
        raise NotFoundError(f"{source} is not there: the state is not embedded here.")
    rows = await _read(source)
    target = database.connect(url)
    try:
        with translated():
            await database.prepare(target)
            async with asyncio.timeout(LIMIT), target.begin() as connection:
                await _fill(connection, rows)
    finally:
        await target.dispose()
    return {table.name: len(found) for table, found in rows.items() if table is not tables.meta}


async def _fill(connection: AsyncConnection, rows: Mapping[Table, list[dict[str, Any]]]) -> None:
    (meta,) = rows[tables.meta]
    # First, so that whoever else does the same waits here; above both, so that all see a change.
    version = tables.meta.c.version + meta["version"] + 1
    raised = update(tables.meta).values(version=version, access_version=version)
    await connection.execute(raised)
    await _require_empty(connection)
    for table, found in rows.items():
        if table is not tables.meta and found:
            await connection.execute(insert(table), found)
    if meta["sealed_with"]:
        await connection.execute(update(tables.meta).values(sealed_with=meta["sealed_with"]))


async def _read(source: Path) -> dict[Table, list[dict[str, Any]]]:
    engine = database.connect(database.sqlite_url(source))
    try:
        await database.prepare(engine)
        async with engine.connect() as connection:
            return {
                table: [dict(row) for row in (await connection.execute(select(table))).mappings()]
                for table in tables.metadata.sorted_tables
            }
    finally:
        await engine.dispose()


async def _require_empty(connection: AsyncConnection) -> None:
    for table in tables.metadata.sorted_tables:
        if table in (tables.meta, tables.noted_acts):  # what an upgrade left is no state
            continue
        if (await connection.execute(select(func.count()).select_from(table))).scalar_one():
            raise ConflictError(
                f"The database has a state already: there are {table.name}.",
                hint="A further replica needs no move: `kubewitness init --like`.",
            )
