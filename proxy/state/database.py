"""Connecting to the state's database, and bringing its schema up to date."""

import asyncio
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from proxy.errors import SettingsError
from proxy.settings import is_postgresql
from proxy.state import postgres
from proxy.state.migrations import HEAD
from proxy.state.roles import SCHEMA

_BUSY_SECONDS: Final = 5
_LOOK_SECONDS: Final = 3.0
_NOT_GRANTED: Final = frozenset({"22023", "42501", "3F000"})
"""SQLSTATEs of a role that is not there, one that we may not take, and a schema that is not there."""
_REFUSED: Final = ("28", "3D000")
"""SQLSTATEs of a login that is not accepted, and of a database that is not there."""
_UPGRADE: Final = (
    "As a database administrator, run `kubewitness db upgrade --login NAME`, with the login's name."
)
WRITE: Final = {"kubewitness_write": True}
"""Execution options of a connection that is going to write."""


def sqlite_url(path: Path) -> str:
    """The URL of an embedded database in file `path`."""
    return f"sqlite+aiosqlite:///{path}"


def connect(url: str, *, admin: bool = False) -> AsyncEngine:
    """An engine for `url` (`sqlite:///file` or `postgresql://…`). Nothing is opened yet.

    `admin` is for upgrades of a PostgreSQL: without it, sessions have the rights of a proxy only.
    Raises SettingsError for a URL of another database or none at all.
    """
    if is_postgresql(url):
        return postgres.engine(url, admin=admin)
    parsed = _parsed(url)
    engine = create_async_engine(
        parsed.set(drivername="sqlite+aiosqlite"), connect_args={"timeout": _BUSY_SECONDS}
    )
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The URL itself may hold a password and is not repeated.
        raise SettingsError("database: is not a database URL.") from error
    kind = parsed.get_backend_name()
    if kind != "sqlite":
        raise SettingsError(
            f"database: {kind} is not supported.", hint="Use sqlite:///FILE or postgresql://…"
        )
    return parsed


def _set_up_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  # a driver's object
    # The driver must not begin transactions by itself: `_begin_sqlite` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    # Rollback journal, not WAL: many processes open this file, and WAL can lose a committed
    # change when two of them restart the log at once (sqlite.org/wal.html, "WAL-reset bug").
    cursor.execute("PRAGMA journal_mode=DELETE")
    # A revocation that was reported as done must survive a power cut.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer can meet another one and fail at once; writers announce it.
    writing = connection.get_execution_options().get("kubewitness_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


async def prepare(engine: AsyncEngine) -> None:
    """Make sure that the schema is this version's: SQLite's is migrated, PostgreSQL's must be.

    Raises SettingsError saying what to do when it is not.
    """
    if engine.dialect.name == "sqlite":
        await migrate(engine)
        return
    try:
        async with asyncio.timeout(_LOOK_SECONDS), engine.connect() as connection:
            found = await connection.run_sync(_revision)
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        if state.startswith(_REFUSED):
            raise SettingsError(
                f"The database refuses the login: {error.orig}.",
                hint="Look at `database`; the password may stand in ~/.pgpass.",
            ) from error
        if state not in _NOT_GRANTED:
            raise
        raise SettingsError(
            f"The database does not let us work as {postgres.ROLE}: {error.orig}.", hint=_UPGRADE
        ) from error
    if found is None:
        raise SettingsError("The database has no tables of kubewitness.", hint=_UPGRADE)
    if found != HEAD:
        raise SettingsError(
            f"The state in the database has schema {found}, and this version needs {HEAD}.",
            hint=_UPGRADE if found < HEAD else "Run the version of kubewitness that upgraded it.",
        )


async def migrate(engine: AsyncEngine) -> bool:
    """Bring the schema to this version's revision; says whether there was anything to do.

    For PostgreSQL `engine` is an administrator's, and roles and grants are made as well. Safe from
    several processes at once. Raises SettingsError when a newer version made the schema.
    """
    if engine.dialect.name == "sqlite":
        async with engine.connect() as connection:
            if await connection.run_sync(_revision) == HEAD:
                return False
    async with engine.connect() as plain:
        connection = await plain.execution_options(**WRITE)
        async with connection.begin():
            return await _migrate(connection)


async def _migrate(connection: AsyncConnection) -> bool:
    on_postgres = connection.dialect.name == "postgresql"
    if on_postgres:
        await postgres.begin_upgrade(connection)
    # Looked at under the lock: another process may have been faster.
    needed = await connection.run_sync(_revision) != HEAD
    if needed:
        await connection.run_sync(_upgrade)
    if on_postgres:
        await postgres.grant(connection)
    return needed


def _version_table(connection: Connection) -> tuple[str, str | None]:
    if connection.dialect.name == "postgresql":
        return postgres.REVISIONS, SCHEMA
    return "alembic_version", None


def _revision(connection: Connection) -> str | None:
    name, schema = _version_table(connection)
    if not inspect(connection).has_table(name, schema=schema):
        return None
    qualified = name if schema is None else f"{schema}.{name}"
    return connection.execute(text(f"SELECT version_num FROM {qualified}")).scalar()  # noqa: S608


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "proxy:state/migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["version_table"] = _version_table(connection)
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise SettingsError(
            f"The state database has a schema this version does not know: {error}.",
            hint="Run the version of kubewitness that wrote it, or a newer one.",
        ) from error
