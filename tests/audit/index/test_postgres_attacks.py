"""What whoever holds the rights of `serve` cannot do to a record, tried one by one.

The attacker has the password of the login and may act as any of its three group roles. Each attack
is denied, and after all of them every record is byte for byte what it was, and every guard stands.
"""

import asyncio
import functools
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.query import Filter
from proxy.state.roles import Role
from tests.audit.index.postgresql.databases import Ready, fill, ready_database, some_rows
from tests.postgres import Postgres

WRITER, READER, STATE, OWNER = Role.WRITER, Role.READER, Role.STATE, Role.OWNER
LOGIN = ""
DENIED = "42501"
"""insufficient_privilege"""

EVERYTHING = """
SELECT md5(string_agg(e::text, '|' ORDER BY writer, seq, at)), count(*) FROM kubewitness.events e;
SELECT md5(string_agg(o::text, '|' ORDER BY audit_id)), count(*) FROM kubewitness.open_calls o;
SELECT md5(string_agg(b::text, '|' ORDER BY number)) FROM kubewitness.blocks b;
SELECT md5(string_agg(p::text, '|' ORDER BY block, field, value)) FROM kubewitness.postings p;
SELECT md5(string_agg(t::text, '|' ORDER BY run)) FROM kubewitness.run_texts t;
SELECT md5(string_agg(concat_ws(' ', oid::regclass, relowner::regrole, relacl, relpersistence,
  relkind, relrowsecurity, relforcerowsecurity, relfilenode, relhasrules, relispartition), '|'
  ORDER BY oid)) FROM pg_class WHERE relnamespace::regnamespace::text LIKE 'kubewitness%';
SELECT md5(string_agg(concat_ws(' ', tgrelid::regclass, tgname, tgenabled, tgfoid), '|' ORDER BY oid))
  FROM pg_trigger;
SELECT md5(string_agg(concat_ws(' ', oid::regprocedure, proowner, proacl, prosrc, proconfig), '|'
  ORDER BY oid)) FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'kubewitness%';
SELECT md5(string_agg(concat_ws(' ', roleid, member, grantor), '|' ORDER BY roleid, member, grantor))
  FROM pg_auth_members;
SELECT md5(string_agg(concat_ws(' ', nspname, nspowner, nspacl), '|' ORDER BY nspname))
  FROM pg_namespace WHERE nspname LIKE 'kubewitness%';
SELECT md5(string_agg(concat_ws(' ', attrelid, attname, attacl, atttypid, attisdropped), '|'
  ORDER BY attrelid, attnum)) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  WHERE c.relnamespace::regnamespace::text LIKE 'kubewitness%';
SELECT string_agg(concat_ws(' ', rolname, rolsuper, rolcanlogin, rolcreaterole, rolbypassrls), '|'
  ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'kubewitness%' OR rolname LIKE 'serve_%';
"""

BLOCK_AT = (
    "SELECT kubewitness.add_block('w-0', {first}, 0, 0, '', ARRAY[0::smallint],"
    " ARRAY['0'::bytea], ARRAY['L'::bytea], ARRAY[]::int[], ARRAY[]::bytea[])"
)
# (as, statement) or (as, statement, the error it meets). `{p}` is the partition with the records.
ATTACKS: list[tuple[Any, ...]] = [
    # Changing records, on every way to them.
    *[
        (role, statement)
        for role in (WRITER, READER, STATE, LOGIN)
        for statement in (
            "UPDATE kubewitness.events SET line = 'forged'",
            "DELETE FROM kubewitness.events",
            "TRUNCATE kubewitness.events",
            "UPDATE kubewitness.{p} SET line = 'forged'",
            "DELETE FROM kubewitness.{p}",
            "TRUNCATE kubewitness.{p}",
            "DELETE FROM kubewitness.open_calls",
            "UPDATE kubewitness_views.events SET username = 'nobody'",
            "DELETE FROM kubewitness_views.events",
        )
    ],
    (READER, "INSERT INTO kubewitness_views.events (writer, seq) VALUES ('w-0', 9999)"),
    (WRITER, "INSERT INTO kubewitness_views.events (writer, seq) VALUES ('w-0', 9999)"),
    (WRITER, "INSERT INTO kubewitness.{p} SELECT * FROM kubewitness.{p}"),
    (
        WRITER,
        (
            "INSERT INTO kubewitness.events (writer, seq) VALUES ('w-0', 1) ON CONFLICT (writer, seq, at)"
            " DO UPDATE SET line = 'forged'"
        ),
    ),
    (WRITER, "INSERT INTO kubewitness.events (recorded_at) VALUES ('2020-01-01')"),
    (
        WRITER,
        (
            "MERGE INTO kubewitness.events e USING (VALUES (1)) v (seq) ON e.seq = v.seq"
            " WHEN MATCHED THEN UPDATE SET line = 'forged'"
        ),
    ),
    (
        WRITER,
        (
            "MERGE INTO kubewitness.events e USING (VALUES (1)) v (seq) ON e.seq = v.seq"
            " WHEN MATCHED THEN DELETE"
        ),
    ),
    (WRITER, "WITH gone AS (DELETE FROM kubewitness.events RETURNING 1) SELECT count(*) FROM gone"),
    (WRITER, "SELECT * FROM kubewitness.events FOR UPDATE"),
    # Reading around the views.
    (WRITER, "SELECT line FROM kubewitness.events"),
    (READER, "SELECT line FROM kubewitness.events"),
    (READER, "SELECT line FROM kubewitness.{p}"),
    (STATE, "SELECT line FROM kubewitness_views.events"),
    (LOGIN, "SELECT line FROM kubewitness_views.events"),
    (READER, "SELECT sealed FROM kubewitness.clusters"),
    (WRITER, "SELECT sealed FROM kubewitness.clusters"),
    # The table itself.
    *[
        (role, statement)
        for role in (WRITER, LOGIN)
        for statement in (
            "ALTER TABLE kubewitness.events DISABLE TRIGGER ALL",
            "ALTER TABLE kubewitness.{p} DISABLE TRIGGER kubewitness_guard",
            "ALTER TABLE kubewitness.{p} ENABLE REPLICA TRIGGER kubewitness_row",
            "DROP TRIGGER kubewitness_guard ON kubewitness.events",
            (
                "CREATE TRIGGER mine BEFORE INSERT ON kubewitness.events FOR EACH ROW"
                " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
            ),
            "ALTER TABLE kubewitness.events ALTER COLUMN username TYPE text USING 'forged'",
            "ALTER TABLE kubewitness.events ALTER COLUMN line SET DEFAULT ''",
            "ALTER TABLE kubewitness.events DROP COLUMN line",
            "ALTER TABLE kubewitness.events ADD COLUMN more text",
            "ALTER TABLE kubewitness.events DETACH PARTITION kubewitness.{p}",
            "ALTER TABLE kubewitness.{p} SET UNLOGGED",
            "ALTER TABLE kubewitness.{p} RENAME TO elsewhere",
            "ALTER TABLE kubewitness.{p} SET SCHEMA public",
            "ALTER TABLE kubewitness.{p} OWNER TO CURRENT_USER",
            "ALTER TABLE kubewitness.{p} INHERIT pg_catalog.pg_class",
            "ALTER TABLE kubewitness.events DISABLE ROW LEVEL SECURITY",
            "DROP TABLE kubewitness.events CASCADE",
            "DROP TABLE kubewitness.{p}",
            "DROP SCHEMA kubewitness CASCADE",
            "DROP VIEW kubewitness_views.events",
            "DROP INDEX kubewitness.events_identity",
            "CREATE RULE gone AS ON INSERT TO kubewitness.events DO INSTEAD NOTHING",
            "CREATE POLICY mine ON kubewitness.events USING (true)",
            "CREATE OR REPLACE VIEW kubewitness_views.events AS SELECT 1 AS writer",
            "CREATE TABLE kubewitness.events_d20300101 (LIKE kubewitness.events)",
            "COMMENT ON TABLE kubewitness.events IS 'mine'",
            "CREATE INDEX ON kubewitness.events (at)",
            "BEGIN; LOCK TABLE kubewitness.events IN ACCESS EXCLUSIVE MODE",
            "BEGIN; LOCK TABLE kubewitness.index_schema IN SHARE UPDATE EXCLUSIVE MODE",
            "CREATE PUBLICATION mine FOR TABLE kubewitness.events",
        )
    ],
    # A foreign key into the records would let its table delete them.
    (
        LOGIN,
        "CREATE TEMPORARY TABLE mine (writer text REFERENCES kubewitness.events (writer))",
    ),
    # What decides what is skipped, and what versions are known.
    (WRITER, "UPDATE kubewitness.index_schema SET version = 99"),
    (WRITER, "DELETE FROM kubewitness.blocks"),
    (WRITER, "UPDATE kubewitness.postings SET bits = ''"),
    (WRITER, "TRUNCATE kubewitness.run_texts"),
    # What a search believes: a false block, or a false part of one, would hide records from it.
    *[
        (role, statement)
        for role in (WRITER, READER, STATE, LOGIN)
        for statement in (
            "INSERT INTO kubewitness.blocks VALUES (99, 'w-0', 0, 0, 0, '')",
            "INSERT INTO kubewitness.postings VALUES (1, 15, '000', '')",
            "INSERT INTO kubewitness.run_texts VALUES (64, '')",
            "SELECT nextval('kubewitness.block_numbers')",
        )
    ],
    *[(role, BLOCK_AT.format(first=0)) for role in (READER, STATE, LOGIN)],
    # Before its records are there, far ahead, not where blocks begin, without a writer, once more.
    *[
        (WRITER, BLOCK_AT.format(first=first))
        for first in (0, 1, 16_384, 16_384_000, -8_192, -32_768)
    ],
    (WRITER, BLOCK_AT.format(first=-16_384).replace("w-0", "w-9")),
    (WRITER, BLOCK_AT.format(first=9_223_372_036_854_767_616), "22003"),
    (WRITER, "SELECT setval('kubewitness.block_numbers', 1)"),
    (WRITER, "SELECT * FROM kubewitness.removed"),
    (WRITER, "INSERT INTO kubewitness.removed VALUES ('x', 0, 1, 'w-0', 1, 2, 2, 'mine')"),
    (WRITER, "SELECT kubewitness.remove_partition('{p}', 'mine')"),
    (STATE, "SELECT kubewitness.remove_partition('{p}', 'mine')"),
    (STATE, "DELETE FROM kubewitness.legal_holds"),
    (STATE, "UPDATE kubewitness.retention_approvals SET approved_by = 'another'"),
    (STATE, "DELETE FROM kubewitness.credentials"),
    # Functions of the owner, and functions put in their way.
    (WRITER, "SELECT kubewitness.guard('kubewitness.events')"),
    (WRITER, "SELECT kubewitness.make_partition('mine', '0', '1')"),
    (READER, "SELECT kubewitness.ensure_partitions(ARRAY[20000])"),
    (READER, "SELECT * FROM kubewitness.positions()"),
    (READER, "SELECT * FROM kubewitness.compare('w-0', ARRAY[1::bigint], ARRAY['\\x00'::bytea])"),
    (LOGIN, "SELECT kubewitness.note_calls('w-0', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')"),
    (
        WRITER,
        "SELECT kubewitness.ensure_partitions(ARRAY(SELECT generate_series(1, 5000)::bigint))",
        "54000",
    ),
    (
        WRITER,
        (
            "CREATE OR REPLACE FUNCTION kubewitness.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RETURN NEW; END'"
        ),
    ),
    (WRITER, "ALTER FUNCTION kubewitness.refuse() OWNER TO CURRENT_USER"),
    (WRITER, "ALTER FUNCTION kubewitness.positions() SET search_path = public"),
    (WRITER, "DROP FUNCTION kubewitness.refuse() CASCADE"),
    (WRITER, "GRANT EXECUTE ON FUNCTION kubewitness.guard(regclass) TO PUBLIC"),
    (
        LOGIN,
        "CREATE FUNCTION pg_catalog.sha256(text) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'",
    ),
    (LOGIN, "CREATE FUNCTION kubewitness.note_calls(int) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    (LOGIN, "CREATE FUNCTION kubewitness_views.count(text) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    (LOGIN, "CREATE SCHEMA mine"),
    (LOGIN, "CREATE EXTENSION plperlu", None),
    (LOGIN, "CREATE LANGUAGE plmine HANDLER plpgsql_call_handler"),
    # Becoming somebody else.
    *[
        (role, statement)
        for role in (WRITER, LOGIN)
        for statement in (
            "SET ROLE kubewitness_owner",
            "SET ROLE postgres",
            "SET SESSION AUTHORIZATION kubewitness_owner",
            "GRANT kubewitness_owner TO CURRENT_USER",
            "GRANT pg_write_all_data TO CURRENT_USER",
            "ALTER ROLE kubewitness_owner LOGIN PASSWORD 'mine'",
            "ALTER ROLE CURRENT_USER SUPERUSER",
            "ALTER ROLE kubewitness_owner SET session_replication_role = replica",
            "CREATE ROLE mine",
            "DROP ROLE kubewitness_owner",
            "DROP OWNED BY kubewitness_owner CASCADE",
            "REASSIGN OWNED BY kubewitness_owner TO CURRENT_USER",
            "ALTER DEFAULT PRIVILEGES FOR ROLE kubewitness_owner GRANT ALL ON TABLES TO PUBLIC",
        )
    ],
    # Settings of the server, and of the whole session.
    (LOGIN, "SET session_replication_role = replica"),
    (WRITER, "SET session_replication_role = replica"),
    (LOGIN, "ALTER SYSTEM SET fsync = off"),
    (LOGIN, "ALTER SYSTEM SET event_triggers = off", None),
    (LOGIN, "SET fsync = off", "55P02"),
    (LOGIN, "SET full_page_writes = off", "55P02"),
    (LOGIN, "SET zero_damaged_pages = on"),
    (LOGIN, "SET ignore_checksum_failure = on"),
    (LOGIN, "SET allow_system_table_mods = on"),
    (LOGIN, "ALTER DATABASE {d} SET session_replication_role = replica"),
    (LOGIN, "DROP DATABASE {d}", None),
    (LOGIN, "DROP EVENT TRIGGER kubewitness_changed"),
    (LOGIN, "ALTER EVENT TRIGGER kubewitness_dropped DISABLE"),
    # The catalogue and the files beneath.
    (LOGIN, "UPDATE pg_catalog.pg_trigger SET tgenabled = 'D'"),
    (LOGIN, "DELETE FROM pg_catalog.pg_inherits"),
    (LOGIN, "UPDATE pg_catalog.pg_class SET relacl = NULL"),
    (LOGIN, "COPY kubewitness.events TO PROGRAM 'cat'"),
    (LOGIN, "COPY kubewitness.events FROM PROGRAM 'true'"),
    (WRITER, "COPY kubewitness.events (writer) FROM '/etc/passwd'"),
    (READER, "COPY (SELECT line FROM kubewitness_views.events) TO '/tmp/lines'"),
    (WRITER, "COPY kubewitness.events TO STDOUT"),
    (LOGIN, "SELECT lo_import('/etc/passwd')"),
    (LOGIN, "SELECT lo_export(1, '/tmp/out')"),
    (LOGIN, "SELECT pg_read_file('PG_VERSION')"),
    (LOGIN, "SELECT pg_ls_dir('base')"),
    (LOGIN, "SELECT pg_terminate_backend(pg_backend_pid()) WHERE false; CHECKPOINT"),
    (LOGIN, "SELECT pg_promote()"),
    (LOGIN, "SELECT pg_switch_wal()"),
    (LOGIN, "SELECT pg_create_restore_point('mine')"),
    (LOGIN, "SELECT * FROM pg_create_logical_replication_slot('mine', 'pgoutput')"),
    (LOGIN, "CREATE SUBSCRIPTION mine CONNECTION '' PUBLICATION mine"),
    (LOGIN, "CREATE TABLESPACE mine LOCATION '/dev/shm'"),
    (LOGIN, "ALTER TABLE kubewitness.{p} SET TABLESPACE pg_default"),
    (WRITER, "CLUSTER kubewitness.{p} USING {p}_writer_seq_at_idx"),
    (WRITER, "REINDEX TABLE kubewitness.events"),
    (WRITER, "REFRESH MATERIALIZED VIEW kubewitness_views.events", None),
]
SILENT = [
    # The writer is marked already.
    (WRITER, BLOCK_AT.format(first=-16_384)),
    # Warnings instead of errors, and without any effect.
    (WRITER, "VACUUM FULL kubewitness.{p}"),
    (WRITER, "ANALYZE kubewitness.events"),
    (WRITER, "GRANT ALL ON kubewitness.events TO PUBLIC"),
    (WRITER, "GRANT UPDATE ON kubewitness.events TO CURRENT_USER"),
    (READER, "GRANT SELECT ON kubewitness_views.events TO PUBLIC"),
]
ALLOWED = [
    # PostgreSQL lets everybody do this to themselves; it has no effect on what we write.
    (LOGIN, "SET synchronous_commit = off"),
    (LOGIN, "ALTER ROLE CURRENT_USER SET synchronous_commit = off"),
    (LOGIN, "ALTER ROLE CURRENT_USER SET search_path = pg_temp, public"),
    (LOGIN, "ALTER ROLE CURRENT_USER SET lock_timeout = 1"),
    (LOGIN, "ALTER ROLE CURRENT_USER SET default_transaction_isolation = 'serializable'"),
    (LOGIN, "ALTER ROLE CURRENT_USER SET row_security = off"),
    (LOGIN, "ALTER ROLE CURRENT_USER SET client_min_messages = error"),
    (LOGIN, "ALTER ROLE CURRENT_USER SET client_encoding = 'SQL_ASCII'"),
    (LOGIN, "ALTER ROLE CURRENT_USER SET timezone = 'Asia/Kathmandu'"),
    (LOGIN, "ALTER ROLE CURRENT_USER SET idle_session_timeout = '1s'"),
    (LOGIN, "CREATE TEMPORARY TABLE events (writer text); DELETE FROM events"),
    (WRITER, "LISTEN kubewitness_events"),
    (LOGIN, "ALTER ROLE CURRENT_USER SET default_transaction_read_only = on"),
]


@pytest.fixture(scope="module")
def ready(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as made:

        async def begin() -> None:
            index = await PostgresIndex.open(made.url)
            await fill(index, some_rows())
            await index.close()

        asyncio.run(begin())
        yield made


@pytest.fixture(scope="module")
def before(ready: Ready) -> Iterator[str]:
    found = ready.database.exec(EVERYTHING)
    yield found
    # After all of them together, too.
    assert ready.database.exec(EVERYTHING) == found


@functools.cache
def partition(ready: Ready) -> str:
    """The one that holds records."""
    found = ready.database.exec("SELECT min(tableoid::regclass::text) FROM kubewitness.events")
    return found.removeprefix("kubewitness.")


async def attempt(ready: Ready, role: str, statement: str) -> Any:
    """Try one attack; the error it met, or None. asyncpg gives its errors their fields as it goes."""
    connection = await asyncpg.connect(ready.url)
    try:
        if role:
            await connection.execute(f"SET ROLE {role}")
        await connection.execute(statement.format(p=partition(ready), d=ready.database.name))
    except asyncpg.exceptions.PostgresError as error:
        return error
    finally:
        await connection.close()
    return None


def named(attacks: list[tuple[Any, ...]]) -> list[Any]:
    return [
        pytest.param(
            *(attack if len(attack) > 2 else (*attack, DENIED)), id=f"{n}-{attack[1][:40]}"
        )
        for n, attack in enumerate(attacks)
    ]


@pytest.mark.parametrize(("role", "statement", "code"), named(ATTACKS))
async def test_an_attack_is_denied(
    ready: Ready, before: str, role: str, statement: str, code: str | None
) -> None:
    error = await attempt(ready, role, statement)
    assert error is not None, "it succeeded"
    assert code is None or error.sqlstate == code, error


@pytest.mark.parametrize(("role", "statement", "code"), named(SILENT))
async def test_an_attack_has_no_effect(
    ready: Ready, before: str, role: str, statement: str, code: str
) -> None:
    error = await attempt(ready, role, statement)
    assert error is None or error.sqlstate == code
    assert ready.database.exec(EVERYTHING) == before


def test_there_are_enough() -> None:
    assert len({(str(role), statement) for role, statement, *_ in ATTACKS}) >= 60


def test_nobody_may_change_a_record(ready: Ready) -> None:
    """Nobody but superusers, that is: not even the owner keeps the right."""
    rights = ready.database.exec(
        """
        SELECT c.oid::regclass, coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC'), a.privilege_type
        FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
        WHERE (c.oid = 'kubewitness.events'::regclass OR c.oid IN
               (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'kubewitness.events'::regclass))
          AND a.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES')
        """
    )
    assert rights == ""
    columns = ready.database.exec(
        """
        SELECT DISTINCT a.grantee::regrole, a.privilege_type
        FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = 'kubewitness.events'::regclass
        """
    )
    assert columns == f"{WRITER}|INSERT"
    # Of everything of ours, PUBLIC has nothing; of the tables, nobody has more than is listed.
    assert (
        ready.database.exec(
            """
            SELECT c.oid::regclass, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
            WHERE c.relnamespace::regnamespace::text LIKE 'kubewitness%' AND a.grantee = 0
            UNION ALL SELECT p.oid::regprocedure::regproc, a.privilege_type
            FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            WHERE p.pronamespace::regnamespace::text LIKE 'kubewitness%' AND a.grantee = 0
            """.replace("c.oid::regclass", "c.oid::regclass::text").replace(
                "p.oid::regprocedure::regproc", "p.oid::regprocedure::text"
            )
        )
        == ""
    )


def test_the_catalogue_has_no_way_around(ready: Ready) -> None:
    keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"
    rules = (
        "SELECT count(*) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class"
        " WHERE c.relnamespace::regnamespace::text LIKE 'kubewitness%' AND r.rulename <> '_RETURN'"
    )
    unsafe = """
        SELECT oid::regprocedure FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'kubewitness%'
        AND (proconfig IS NULL OR NOT 'search_path=pg_catalog, pg_temp' = ANY (proconfig))
        """
    guards = """
        SELECT c.oid::regclass FROM pg_class c
        WHERE (c.oid = 'kubewitness.events'::regclass OR c.oid IN
               (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'kubewitness.events'::regclass))
          AND 2 <> (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled = 'A')
        """
    members = f"SELECT member::regrole FROM pg_auth_members WHERE roleid = '{OWNER}'::regrole"
    assert ready.database.exec(keys) == "0"
    assert ready.database.exec(rules) == "0"
    assert ready.database.exec(unsafe) == ""
    assert ready.database.exec(guards) == ""
    assert ready.database.exec(members) == "", "nobody is a member of the owner"


@pytest.mark.parametrize("role", ["superuser", "owner"])
@pytest.mark.parametrize(
    "statement", ["UPDATE {t} SET line = ''", "DELETE FROM {t}", "TRUNCATE {t}"]
)
@pytest.mark.parametrize("table", ["kubewitness.events", "kubewitness.{p}"])
def test_not_even_by_accident(
    ready: Ready, before: str, role: str, statement: str, table: str
) -> None:
    """Whoever could take the guards away must do so first."""
    sql = statement.format(t=table.format(p=partition(ready)))
    as_whom = f"SET ROLE {OWNER};" if role == "owner" else "SET session_replication_role = replica;"
    with pytest.raises(Exception, match=r"only ever added|permission denied"):
        ready.database.exec(f"{as_whom} {sql}")
    assert ready.database.exec(EVERYTHING) == before


async def test_what_a_login_does_to_itself_changes_nothing_for_us(postgres: Postgres) -> None:
    def begin() -> Any:
        made = ready_database(postgres)
        return made, made.__enter__()

    made, ready = await asyncio.to_thread(begin)
    try:
        for role, statement in ALLOWED:
            assert await attempt(ready, role, statement) is None, statement
        rows = some_rows()
        index = await PostgresIndex.open(ready.url)
        await index.attest()
        await fill(index, rows[:50])
        async with index._session.use() as connection:
            await connection.execute(
                "SET synchronous_commit = off; CREATE TEMPORARY TABLE events (writer text)"
            )
        await fill(index, rows[50:])
        found = await index.search(Filter(include_noise=True), limit=10_000)
        assert found.rows
        assert await index.after("w-0", 0, 10_000) == rows
        await index.close()
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)


@pytest.mark.parametrize(
    "arguments",
    [
        "'w-0', '{a}', '{1}', '{1}', '{}', '{}'",  # a call that never was is not open
        "'w-0', '{}', '{}', '{}', ARRAY(SELECT audit_id FROM unnest('{x}'::text[]) audit_id), '{1}'",
        "'w-0''; DROP TABLE kubewitness.events; --', '{a}', '{1}', '{1}', '{b}', '{2}'",
        "NULL, NULL, NULL, NULL, NULL, NULL",
        "'w-0', '{a,b}', '{1}', '{}', '{}', '{1,2}'",
    ],
)
async def test_the_owners_functions_believe_nothing(
    ready: Ready, before: str, arguments: str
) -> None:
    await attempt(
        ready,
        WRITER,
        f"SELECT kubewitness.note_calls({arguments})".replace("{", "{{").replace("}", "}}"),
    )
    assert ready.database.exec(EVERYTHING) == before


async def test_partitions_are_bounded(postgres: Postgres) -> None:
    """The writer may have partitions made: of days around today, else of months, else none."""
    made = ready_database(postgres)
    ready = await asyncio.to_thread(made.__enter__)

    async def count(days: str) -> int:
        """How many partitions `days`, relative to today or of the calendar, make."""
        counted = (
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'kubewitness.events'::regclass"
        )
        before = int(ready.database.exec(counted))
        ask = f"SELECT kubewitness.ensure_partitions(ARRAY(SELECT ({days})::bigint))"
        assert await attempt(ready, WRITER, ask) is None
        return int(ready.database.exec(counted)) - before

    today = "extract(epoch FROM now())::bigint / 86400 + generate_series"
    try:
        assert await count(f"{today}(0, 7)") == 0, "a week ahead is there"
        assert await count(f"{today}(-20, -11)") == 10
        assert await count(f"{today}(-20, -11)") == 0
        assert await count("date '2050-02-01' - date '1970-01-01' + generate_series(0, 27)") == 1
        assert await count("date '2021-12-31' - date '1970-01-01' + generate_series(0, 1)") == 2
        assert await count("generate_series(17400, 18261)") == 0
        assert await count("generate_series(47482, 48000)") == 0
        assert await count("unnest(ARRAY[NULL, 9223372036854775807, -9223372036854775808])") == 0
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)
