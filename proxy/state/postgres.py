"""The state in PostgreSQL: how we connect, who owns its tables, and who may do what with them.

Tables live in schema `kubewitness` and belong to `kubewitness_owner`, which nobody logs in as. A
proxy works as `kubewitness_state`: it may read and change rows, and no more of them than it needs.
Roles, tables and grants are made by `kubewitness db upgrade`, never by `serve`.
"""

from typing import Any, Final

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from proxy.settings import database_place, require_database_url
from proxy.state import tables
from proxy.state.roles import SCHEMA, Role

OWNER: Final = Role.OWNER.value
ROLE: Final = Role.STATE.value
CHANNEL: Final = "kubewitness_state"
"""Of NOTIFY; the payload is the version of the state that was committed."""
REVISIONS: Final = "state_revision"
"""Alembic's table; the index beside us counts its own versions."""
CONNECT_SECONDS: Final = 1.0
"""Until a connection is made or given up: somebody waits, and the next try may meet a better day."""
LOCK_KEY: Final = 0x6B756265_77697473
"""Of the advisory lock that serialises upgrades."""
_POOL: Final = 4
_SERVER_KEY: Final = "server"
# The file that is written to begins with the timeline; the last checkpoint may be of the one before.
WHICH_SERVER: Final = (
    "SELECT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()) || ' ' ||"
    " CASE WHEN pg_is_in_recovery() THEN 'standby'"
    " ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
)
"""Whether it is a standby, and its database system and timeline: a promotion makes another one."""
# Times with a unit, as PostgreSQL reads them. A process that vanished in the middle of a change
# holds up all others until the server notices, so it must notice soon.
_SESSION: Final = {
    "synchronous_commit": "on",
    "lock_timeout": "1500ms",
    "statement_timeout": "20s",
    "idle_in_transaction_session_timeout": "3s",
    "tcp_user_timeout": "3s",
    "timezone": "UTC",
}
_GRANTS: Final = {
    tables.meta.name: "SELECT, UPDATE",
    tables.clusters.name: "SELECT, INSERT, UPDATE, DELETE",
    # Who existed and what was issued or granted stays known, so that a revocation cannot be lost
    # with its row.
    tables.credentials.name: "SELECT, INSERT, UPDATE",
    tables.users.name: "SELECT, INSERT, UPDATE",
    tables.grants.name: "SELECT, INSERT, UPDATE",
    tables.tokens.name: "SELECT, INSERT, UPDATE",
    tables.groups.name: "SELECT, INSERT, UPDATE, DELETE",
    tables.projects.name: "SELECT, INSERT, UPDATE, DELETE",
    tables.roles.name: "SELECT, INSERT, UPDATE, DELETE",
    tables.sightings.name: "SELECT, INSERT, UPDATE, DELETE",
    tables.reconcilers.name: "SELECT, INSERT, UPDATE, DELETE",
    tables.noted_acts.name: "SELECT, INSERT, UPDATE",
}
_OTHERS: Final = "SELECT, INSERT"


def engine(url: str, *, admin: bool = False) -> AsyncEngine:
    """An engine for the database at `url` (libpq's form); nothing is opened yet.

    Sessions work as ROLE, which the login must be a member of; with `admin` as the login itself.
    Raises SettingsError when the URL cannot be read.
    """
    require_database_url(url)

    async def make(*_: object, **__: object) -> asyncpg.Connection:  # as SQLAlchemy calls it
        return await connect(url, admin=admin)

    made = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=make,
        pool_size=_POOL,
        max_overflow=_POOL,
        pool_timeout=CONNECT_SECONDS,
        execution_options={"schema_translate_map": {None: SCHEMA}},
    )
    event.listen(made.sync_engine, "close", _cut)
    return made


async def connect(
    url: str, *, admin: bool = False, name: str = "kubewitness state"
) -> asyncpg.Connection:
    """A connection with the session that everything here relies on; `name` is for people.

    Raises OSError (also when it takes too long) and the errors of asyncpg.
    """
    settings = _SESSION | {"application_name": name} | ({} if admin else {"role": ROLE})
    try:
        made: asyncpg.Connection = await asyncpg.connect(
            url, timeout=CONNECT_SECONDS, server_settings=settings
        )
    except OSError as error:
        # What the loop says of it names no host, and of a timeout it says nothing.
        slow = isinstance(error, TimeoutError)
        why = "no answer in time" if slow else error.strerror or str(error)
        raise ConnectionError(f"{database_place(url)}: {why}") from error
    return made


async def server_of(connection: AsyncConnection) -> str:
    """Which server a connection is to: the database system and its timeline, empty for SQLite.

    A standby that was promoted has another timeline. Versions of the state go on there from where
    it was, so one that is known already may come again and mean something else.
    """
    if connection.dialect.name != "postgresql":
        return ""
    known = (await connection.get_raw_connection()).info
    if (found := known.get(_SERVER_KEY)) is None:
        recovering, found = (await connection.execute(text(WHICH_SERVER))).one()
        if not recovering:  # one that is promoted now keeps its connections
            known[_SERVER_KEY] = found
    return str(found)


def _cut(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's, adapted
    # The polite way out waits for an answer, which a server that went away never gives.
    connection.driver_connection.terminate()


async def begin_upgrade(connection: AsyncConnection) -> None:
    """In a transaction of an administrator: the roles and the schema, and work as the owner."""
    # Another upgrade may be at work: it takes longer than a proxy would wait for anything.
    await connection.execute(text("SET LOCAL lock_timeout = '30s'"))
    await connection.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": LOCK_KEY})
    for role in (Role.OWNER, Role.STATE):
        await connection.execute(text(role.creation))
    # An administrator who is no superuser must be a member of the owner to act as it.
    await connection.execute(text(_JOIN_OWNER))
    await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA} AUTHORIZATION {OWNER}"))
    await connection.execute(text(f"SET LOCAL ROLE {OWNER}"))
    # Alembic's ALTER TABLE does not know of the translation to our schema.
    await connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}"))


async def grant(connection: AsyncConnection) -> None:
    """As the owner: what ROLE may do, and nothing else."""
    await connection.execute(text(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {ROLE}"))
    rights = {
        table.name: _GRANTS.get(table.name, _OTHERS) for table in tables.metadata.sorted_tables
    }
    for name, may in (rights | {REVISIONS: "SELECT"}).items():
        table = f"{SCHEMA}.{name}"
        await connection.execute(text(f"REVOKE ALL ON {table} FROM {ROLE}, PUBLIC"))
        await connection.execute(text(f"GRANT {may} ON {table} TO {ROLE}"))


_JOIN_OWNER: Final = f"""
DO $$ BEGIN
  IF NOT pg_has_role(current_user, '{OWNER}', 'MEMBER') THEN
    EXECUTE format('GRANT {OWNER} TO %I', current_user);
  END IF;
END $$
"""
