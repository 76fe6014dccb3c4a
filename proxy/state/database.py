"""Connecting to the state's database, and bringing its schema up to date."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from proxy.errors import SettingsError
from proxy.state.migrations import HEAD

_BUSY_SECONDS: Final = 5
_MIGRATION_LOCK: Final = 0x6B756265_77697473
"""Key of the PostgreSQL advisory lock that serialises migrations."""
WRITE: Final = {"kubewitness_write": True}
"""Execution options of a connection that is going to write."""


def sqlite_url(path: Path) -> str:
    """The URL of an embedded database in file `path`."""
    return f"sqlite+aiosqlite:///{path}"


def connect(url: str) -> AsyncEngine:
    """An engine for `url` (`sqlite:///file` or `postgresql://…`). Nothing is opened yet.

    Raises SettingsError for a URL of another database or none at all.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The URL itself may hold a password and is not repeated.
        raise SettingsError("database: is not a database URL.") from error
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return create_async_engine(parsed.set(drivername="postgresql+asyncpg"), pool_pre_ping=True)
    if kind != "sqlite":
        raise SettingsError(
            f"database: {kind} is not supported.", hint="Use sqlite:///FILE or postgresql://…"
        )
    engine = create_async_engine(
        parsed.set(drivername="sqlite+aiosqlite"), connect_args={"timeout": _BUSY_SECONDS}
    )
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


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


async def migrate(engine: AsyncEngine) -> bool:
    """Bring the schema to this version's revision; says whether there was anything to do.

    Safe from several processes at once. Raises SettingsError when a newer version made it.
    """
    async with engine.connect() as connection:
        if await connection.run_sync(_revision) == HEAD:
            return False
    async with engine.connect() as plain:
        connection = await plain.execution_options(**WRITE)
        async with connection.begin():
            return await _migrate(connection)


async def _migrate(connection: AsyncConnection) -> bool:
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _MIGRATION_LOCK})
    if await connection.run_sync(_revision) == HEAD:
        return False  # another process was faster
    await connection.run_sync(_upgrade)
    return True


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "proxy:state/migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise SettingsError(
            f"The state database has a schema this version does not know: {error}.",
            hint="Run the version of kubewitness that wrote it, or a newer one.",
        ) from error
