"""`db upgrade`: roles, schema and rights, made or brought up to date by an administrator.

Runs as any login that may create roles and schemas. The owner of everything can not log in; the
administrator becomes a member of it while this runs, and is none afterwards.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from proxy.audit.index.postgresql import ddl, event_trigger, removal
from proxy.audit.index.postgresql.connecting import connect, translated
from proxy.audit.index.postgresql.functions import functions
from proxy.errors import NotFoundError, SettingsError
from proxy.state.roles import SCHEMA, VIEWS, Role

OLDEST: Final = 15
_LOCK: Final = 0x6B77_6462
"""Key of the advisory lock that keeps two upgrades apart ("kwdb")."""
_AHEAD: Final = 7
_SECONDS: Final = 10.0
_SET_ROLE: Final = 16
"""The first version where one may be a member without inheriting, and is asked which."""

Say = Callable[[str], None]


class Admin(NamedTuple):
    """Who runs the upgrade, and what it may do."""

    name: str
    version: int
    superuser: bool
    create_role: bool
    create_here: bool
    database: str
    standby: bool

    def check(self) -> None:
        """Raise SettingsError naming every right that is missing."""
        missing = []
        if self.version < OLDEST:
            missing.append(f"PostgreSQL {OLDEST} or later (this is {self.version})")
        if self.standby:
            missing.append("the primary (this server is a standby)")
        if not (self.superuser or self.create_role):
            missing.append(f"CREATEROLE (ALTER ROLE {self.name} CREATEROLE)")
        if not (self.superuser or self.create_here):
            missing.append(f"CREATE on the database (GRANT CREATE ON DATABASE {self.database})")
        if missing:
            raise SettingsError(
                f"{self.name} cannot set up the database; missing: {'; '.join(missing)}.",
                hint="A database administrator can grant it, or run this command.",
            )


@asynccontextmanager
async def upgrading(url: str, logins: Iterable[str], say: Say) -> AsyncIterator[None]:
    """Set up everything; in the body, connections made with `url` may act as the owner.

    Afterwards nobody may. `say` is told what was done, a line at a time. Raises SettingsError when
    the administrator lacks a right, and UnavailableError when the server does not answer.
    """
    connection = await connect(url, None, seconds=_SECONDS)
    try:
        with translated(hint=""):
            admin = await _admin(connection)
            admin.check()
            await connection.execute(
                "SET lock_timeout = '30s'; SET statement_timeout = '10min';"
                " SET synchronous_commit = on"
            )
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
            await _roles(connection, admin, say)
            await _become_member(connection, admin)
            try:
                await _schema(connection, admin, say)
                yield
                await _logins(connection, admin, logins, say)
            finally:
                await _leave(connection, admin)
    finally:
        await connection.close(timeout=_SECONDS)


async def _admin(connection: Any) -> Admin:  # noqa: ANN401
    row = await connection.fetchrow(
        "SELECT current_user, current_setting('server_version_num')::int / 10000,"
        " rolsuper, rolcreaterole, has_database_privilege(current_database(), 'CREATE'),"
        " current_database(), pg_is_in_recovery() FROM pg_roles WHERE rolname = current_user"
    )
    return Admin(*row)


async def _roles(connection: Any, admin: Admin, say: Say) -> None:  # noqa: ANN401
    """The four group roles, with no attribute that would let them do more than is granted."""
    for role in Role:
        row = await connection.fetchrow(
            "SELECT rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication"
            " OR rolbypassrls FROM pg_roles WHERE rolname = $1",
            role,
        )
        if row is None:
            await connection.execute(role.creation)
            say(f"role {role} created")
        elif row[0]:
            if not admin.superuser:
                raise SettingsError(f"The role {role} may more than it should.", hint=_DROP)
            await connection.execute(
                f"ALTER ROLE {role} NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION"
                " NOBYPASSRLS"
            )
            say(f"role {role}: attributes taken away")
        else:
            say(f"role {role} is there")


_DROP: Final = "A superuser must take LOGIN, SUPERUSER, CREATEROLE … from it."


async def _become_member(connection: Any, admin: Admin) -> None:  # noqa: ANN401
    if admin.superuser:
        return
    how = " WITH INHERIT FALSE, SET TRUE" if admin.version >= _SET_ROLE else ""
    await connection.execute(f"GRANT {Role.OWNER} TO CURRENT_USER{how}")


async def _leave(connection: Any, admin: Admin) -> None:  # noqa: ANN401
    if admin.superuser or connection.is_closed():
        return
    await connection.execute("RESET ROLE")
    # Only what we granted ourselves goes; ADMIN, which CREATE ROLE gave us, is needed again.
    await connection.execute(f"REVOKE {Role.OWNER} FROM CURRENT_USER")


async def _schema(connection: Any, admin: Admin, say: Say) -> None:  # noqa: ANN401
    async with connection.transaction():
        for schema in (SCHEMA, VIEWS):
            owner = await connection.fetchval(
                "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = $1", schema
            )
            if owner is None:
                await connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {Role.OWNER}")
                say(f"schema {schema} created")
            elif owner != Role.OWNER:
                raise SettingsError(
                    f"The schema {schema} belongs to {owner}, not to {Role.OWNER}.",
                    hint="Use another database, or rename that schema.",
                )
        await connection.execute(f"SET LOCAL ROLE {Role.OWNER}")
        await _foreign(connection)
        version = await _version(connection)
        if version is not None and version > ddl.SCHEMA_VERSION:
            raise SettingsError(
                f"The schema has version {version}, which is newer than ours.",
                hint="Run the version of kubewitness that wrote it, or a newer one.",
            )
        parts = (ddl.tables, ddl.indexes, ddl.guards, functions, removal.statements)
        for part in (*parts, ddl.views, ddl.rights):
            for statement in part():
                await connection.execute(statement)
        made = await connection.fetchval(
            f"SELECT {SCHEMA}.ensure_partitions(ARRAY(SELECT generate_series(d, d + {_AHEAD})"
            " FROM (SELECT floor(extract(epoch FROM now()) / 86400)::bigint) AS today (d)))"
        )
        await connection.execute(
            f"INSERT INTO {SCHEMA}.index_schema VALUES (1, {ddl.SCHEMA_VERSION})"
            " ON CONFLICT (id) DO UPDATE SET version = excluded.version"
        )
        say(f"schema version {ddl.SCHEMA_VERSION}" + (f" (was {version})" if version else ""))
        say(f"partitions: {made} made")
    await event_trigger.install(connection, superuser=admin.superuser, say=say)


async def _version(connection: Any) -> int | None:  # noqa: ANN401
    if await connection.fetchval("SELECT to_regclass($1)", f"{SCHEMA}.index_schema") is None:
        return None
    found: int | None = await connection.fetchval(f"SELECT version FROM {SCHEMA}.index_schema")
    return found


async def _foreign(connection: Any) -> None:  # noqa: ANN401
    """Refuse to build on what somebody else made there before."""
    found = await connection.fetchval(
        "SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c WHERE c.relnamespace IN"
        " (SELECT oid FROM pg_namespace WHERE nspname = ANY($1)) AND c.relowner <> $2::regrole",
        [SCHEMA, VIEWS],
        Role.OWNER,
    )
    if found:
        raise SettingsError(f"Not owned by {Role.OWNER}: {found}.", hint="Drop them first.")


async def _logins(connection: Any, admin: Admin, logins: Iterable[str], say: Say) -> None:  # noqa: ANN401
    how = " WITH INHERIT FALSE, SET TRUE" if admin.version >= _SET_ROLE else ""
    for login in logins:
        row = await connection.fetchrow(
            "SELECT quote_ident(rolname), rolsuper OR rolbypassrls OR rolcreaterole"
            " OR rolreplication OR pg_has_role(oid, $2, 'MEMBER')"
            " FROM pg_roles WHERE rolname = $1 AND rolcanlogin",
            login,
            Role.OWNER,
        )
        if row is None:
            raise NotFoundError(
                f"There is no login {login!r}.",
                hint="Make it with CREATE ROLE … LOGIN and a password, for kubewitness alone.",
            )
        name, too_much = row
        if too_much:
            raise SettingsError(
                f"The login {login!r} may more than add records.",
                hint="Give `serve` a login without SUPERUSER, CREATEROLE, BYPASSRLS, REPLICATION.",
            )
        await connection.execute(f"GRANT {Role.WRITER}, {Role.READER}, {Role.STATE} TO {name}{how}")
        say(f"login {name} may act as {Role.WRITER}, {Role.READER} and {Role.STATE}")


@asynccontextmanager
async def acting_as_owner(url: str) -> AsyncIterator[Any]:
    """A connection of an administrator that acts as the owner while the body runs.

    Raises SettingsError when the login may not become that, UnavailableError when the server does
    not answer; errors of the body come as they are.
    """
    connection = await connect(url, None, seconds=_SECONDS)
    try:
        with translated(hint=""):
            admin = await _admin(connection)
            admin.check()
            await _become_member(connection, admin)
            await connection.execute(f"SET synchronous_commit = on; SET ROLE {Role.OWNER}")
        try:
            yield connection
        finally:
            await _leave(connection, admin)
    finally:
        await connection.close(timeout=_SECONDS)
