"""Whether a PostgreSQL server will keep what it commits, and whether its guards stand.

Looked at on connecting and every minute. What is not as it must be makes the database count as
down: a record that may be gone tomorrow, or altered by our own login, is no second copy.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from proxy.audit.index.postgresql.ddl import SCHEMA_VERSION
from proxy.audit.index.postgresql.identity import Identity
from proxy.errors import SettingsError, UnavailableError
from proxy.state.roles import SCHEMA, Role

OLDEST: Final = 15
"""The first version of PostgreSQL we were tested with."""
_REQUIRED: Final = {
    # postgresql.org/docs/current/runtime-config-wal.html and runtime-config-developer.html
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "data_sync_retry": ("off",),
    "zero_damaged_pages": ("off",),
    "ignore_checksum_failure": ("off",),
    "session_replication_role": ("origin",),
    "transaction_read_only": ("off",),
}
"""Server settings and the values under which a commit means what it says."""

_GUARDS: Final = ("kubewitness_guard", "kubewitness_row")
"""Triggers of a table of records."""
_LEFT: Final = "removed"
"""The table of what a retention removed. Nothing but its own rows says that a gap was agreed on."""
_ACCEPT: Final = " (if that is meant: `kubewitness db accept-server`)"


class Guarded(NamedTuple):
    """A table of records, or of what left, as the catalogue has it."""

    name: str
    owner: str
    guards: tuple[str, ...]
    """Its triggers against changes that fire ALWAYS, by name."""
    rights: tuple[str, ...]
    """Rights to change it that one of our roles or everybody has, as `role: right`."""


class Facts(NamedTuple):
    """What was read in one look."""

    version: int
    """Major version of the server."""
    recovering: bool
    identifier: int
    """Of the database system; another one is another server."""
    timeline: int
    """Grows with each failover or restore; the older of two servers has the lower one."""
    schema: int | None
    """Version of our schema; None when there is none."""
    settings: Mapping[str, str]
    login: str
    login_may: tuple[str, ...]
    """Attributes of our login that a writer of records must not have."""
    owner_may: tuple[str, ...]
    """The same of the owner."""
    tables: tuple[Guarded, ...]
    unlogged: tuple[str, ...]
    """Tables of ours, of any kind, that a crash empties: without its postings a record is there and
    is not found, without its revocation a credential counts again."""


async def look(connection: Any) -> Facts:  # noqa: ANN401  # asyncpg is untyped
    """Read all facts. Raises what asyncpg does."""
    server = await connection.fetchrow(_SERVER)
    schema = None
    if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{SCHEMA}.index_schema"):
        schema = await connection.fetchval(f"SELECT version FROM {SCHEMA}.index_schema")
    settings = await connection.fetch(
        "SELECT name, setting FROM pg_settings WHERE name = ANY($1)",
        [*_REQUIRED, "synchronous_standby_names"],
    )
    owner = await connection.fetchval(_ATTRIBUTES, str(Role.OWNER))
    tables = await connection.fetch(_TABLES)
    unlogged = await connection.fetch(_UNLOGGED)
    version, recovering, identifier, timeline, login, login_may = server
    return Facts(
        version,
        recovering,
        identifier,
        timeline,
        schema,
        dict(settings),
        login,
        tuple(login_may),
        ("missing",) if owner is None else tuple(owner),
        tuple(
            Guarded(name, of, tuple(guards), tuple(rights)) for name, of, guards, rights in tables
        ),
        tuple(name for (name,) in unlogged),
    )


def attest(facts: Facts, before: Identity | None) -> Identity:
    """Which server it is, when everything is as it must be.

    Raises SettingsError when the schema is not ours to write to, and UnavailableError when the
    server would not keep what it commits, or is another than `before`.
    """
    if facts.schema is None or facts.schema < SCHEMA_VERSION:
        found = "no schema of ours" if facts.schema is None else f"schema {facts.schema}"
        raise SettingsError(
            f"The database has {found}; this release needs schema {SCHEMA_VERSION}.",
            hint="Run `kubewitness db upgrade` as a database administrator.",
        )
    if facts.schema > SCHEMA_VERSION:
        raise SettingsError(
            f"The database has schema {facts.schema}, made by a newer release than this one.",
            hint="Run that release, or a newer one.",
        )
    problems = [*_of_server(facts, before), *_of_accounts(facts), *_of_tables(facts)]
    if problems:
        raise UnavailableError(
            f"PostgreSQL does not keep records as it must: {'; '.join(problems[:5])}.",
            hint="`kubewitness db status` shows all of it.",
        )
    return Identity(facts.identifier, facts.timeline)


def _of_server(facts: Facts, before: Identity | None) -> Iterator[str]:
    if facts.version < OLDEST:
        yield f"version {facts.version} is older than {OLDEST}"
    if facts.recovering:
        yield "the server is a standby or is recovering"
    for name, good in _REQUIRED.items():
        value = facts.settings.get(name)
        if value not in good:
            yield f"{name} is {value}" if value is not None else f"{name} cannot be read"
    if before is not None and facts.identifier != before.identifier:
        yield f"it is another server than before, {facts.identifier} and not {before.identifier}{_ACCEPT}"
    elif before is not None and facts.timeline < before.timeline:
        yield f"it went back from timeline {before.timeline} to {facts.timeline}{_ACCEPT}"


def _of_accounts(facts: Facts) -> Iterator[str]:
    for may in facts.login_may:
        yield f"our login {facts.login} has {may}"
    for may in facts.owner_may:
        yield f"{Role.OWNER} has {may}" if may != "missing" else f"{Role.OWNER} is missing"


def _of_tables(facts: Facts) -> Iterator[str]:
    if all(table.name == _LEFT for table in facts.tables):
        yield "there is no table of records"
    for name in facts.unlogged:
        yield f"{name} is emptied by a crash (UNLOGGED)"
    for table in facts.tables:
        if table.owner != Role.OWNER:
            yield f"{table.name} belongs to {table.owner}"
        for guard in _GUARDS[:1] if table.name == _LEFT else _GUARDS:
            if guard not in table.guards:
                yield f"{table.name} is not guarded ({guard} does not fire always)"
        for right in table.rights:
            yield f"{table.name} may be changed ({right})"


_SERVER: Final = f"""
SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery(),
  (SELECT system_identifier FROM pg_control_system()),
  (SELECT timeline_id FROM pg_control_checkpoint()), session_user::text,
  (SELECT array_remove(ARRAY[
     CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
     CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
     CASE WHEN pg_has_role(oid, '{Role.OWNER}', 'MEMBER') THEN 'the rights of {Role.OWNER}' END,
     CASE WHEN pg_has_role(oid, 'pg_write_all_data', 'MEMBER') THEN 'pg_write_all_data' END,
     CASE WHEN pg_has_role(oid, 'pg_execute_server_program', 'MEMBER')
          THEN 'pg_execute_server_program' END,
     CASE WHEN pg_has_role(oid, 'pg_write_server_files', 'MEMBER') THEN 'pg_write_server_files' END
   ], NULL) FROM pg_roles WHERE rolname = session_user)
"""
_ATTRIBUTES: Final = """
SELECT array_remove(ARRAY[CASE WHEN rolcanlogin THEN 'LOGIN' END,
    CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL)
FROM pg_roles WHERE rolname = $1
"""
_TABLES: Final = f"""
SELECT c.relname::text, c.relowner::regrole::text,
  ARRAY(SELECT t.tgname::text FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled = 'A'),
  ARRAY(SELECT r.name || ': ' || p.name
        FROM unnest(ARRAY['{Role.WRITER}', '{Role.READER}', '{Role.STATE}', 'public']) AS r (name),
             unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS p (name)
        WHERE has_table_privilege(r.name, c.oid, p.name))
FROM pg_class c
WHERE c.oid IN (to_regclass('{SCHEMA}.events'), to_regclass('{SCHEMA}.{_LEFT}'))
   OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass('{SCHEMA}.events'))
ORDER BY c.relname
"""
_UNLOGGED: Final = f"""
SELECT relname::text FROM pg_class
WHERE relnamespace = to_regnamespace('{SCHEMA}') AND relkind IN ('r', 'S') AND relpersistence <> 'p'
ORDER BY relname
"""
