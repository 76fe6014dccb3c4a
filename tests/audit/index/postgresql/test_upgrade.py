"""`db upgrade`, on every version of PostgreSQL there is here, by superusers and by others."""

import asyncio
import time
from collections.abc import Iterator

import asyncpg
import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.ddl import SCHEMA_VERSION
from proxy.audit.index.postgresql.upgrade import acting_as_owner, upgrading
from proxy.audit.index.query import Filter
from proxy.audit.index.rows import Row
from proxy.audit.index.store import Position
from proxy.errors import NotFoundError, SettingsError, UnavailableError
from proxy.runtime.database import upgrade
from proxy.state.roles import Role
from tests.audit.index.postgresql.databases import fill, some_rows
from tests.postgres import DEFAULT_VERSION, Database, Postgres, temporary_database
from tests.postgres_programs import PostgresError, installations


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A server of its own: these tests make and break the roles that all databases share."""
    with Postgres(getattr(request, "param", DEFAULT_VERSION)) as made:
        yield made


each_version = pytest.mark.parametrize("server", sorted(installations()), indirect=True)


@pytest.fixture
def bare(server: Postgres) -> Iterator[Database]:
    """A database on a server that never saw us."""
    with temporary_database(server) as made:
        made.exec(f'ALTER DATABASE "{made.name}" SET log_min_messages = warning')
        yield made
    for role in server.exec(
        "SELECT quote_ident(rolname) FROM pg_roles WHERE rolname <> 'postgres'"
        " AND rolname NOT LIKE 'pg\\_%'"
    ).split():
        server.exec(f"DROP OWNED BY {role}; DROP ROLE {role}")


def administrator(bare: Database, rights: str = "CREATEROLE", *, create: bool = True) -> str:
    """The URL of an administrator who is no superuser."""
    bare.exec(f"CREATE ROLE admin LOGIN PASSWORD 'a' {rights}")
    if create:
        bare.exec(f'GRANT CREATE ON DATABASE "{bare.name}" TO admin')
    return bare.login("admin", "a")


async def upgraded(url: str, *logins: str) -> list[str]:
    told: list[str] = []
    await upgrade(url, logins, told.append)
    return told


async def usable(bare: Database) -> None:
    index = await PostgresIndex.open(bare.login("app", "b"))
    await index.attest()
    rows = some_rows(calls=20)
    await fill(index, rows)
    assert await index.after("w-0", 0, 1000) == rows
    await index.close()


@each_version
@pytest.mark.parametrize("who", ["superuser", "administrator"])
async def test_from_nothing_and_again(bare: Database, who: str) -> None:
    bare.exec("CREATE ROLE app LOGIN PASSWORD 'b'")
    url = bare.url if who == "superuser" else administrator(bare)
    told = await upgraded(url, "app")
    assert "role kubewitness_owner created" in told
    assert f"schema version {SCHEMA_VERSION}" in told
    assert "partitions: 10 made" in told, "past, future, today and a week"
    assert any("event triggers" in line for line in told)
    assert ("skipped" in "".join(told)) == (who == "administrator")
    await usable(bare)
    told = await upgraded(url, "app")
    assert "role kubewitness_owner is there" in told
    assert "partitions: 0 made" in told
    assert "created" not in "".join(told)
    await usable(bare)
    members = f"SELECT member::regrole FROM pg_auth_members WHERE roleid = '{Role.OWNER}'::regrole"
    if bare.server.version >= 16:
        members += " AND (set_option OR inherit_option)"
    assert bare.exec(members) == "", "nobody can act as the owner afterwards"


@pytest.mark.parametrize(
    ("rights", "create", "missing"),
    [
        ("", True, ["CREATEROLE (ALTER ROLE admin CREATEROLE)"]),
        ("CREATEROLE", False, ["CREATE on the database"]),
        ("", False, ["CREATEROLE", "CREATE on the database"]),
    ],
)
async def test_what_is_missing_is_said(
    bare: Database, rights: str, create: bool, missing: list[str]
) -> None:
    url = administrator(bare, rights, create=create)
    with pytest.raises(SettingsError) as refused:
        await upgraded(url)
    for what in missing:
        assert what in refused.value.message
    assert bare.exec("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'kubewitness%'") == "0"


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("CREATE SCHEMA kubewitness", "The schema kubewitness belongs to postgres"),
        ("CREATE SCHEMA kubewitness_views", "The schema kubewitness_views belongs to postgres"),
    ],
)
async def test_what_somebody_else_made_is_not_built_upon(
    bare: Database, before: str, says: str
) -> None:
    bare.exec(before)
    with pytest.raises(SettingsError, match=says):
        await upgraded(bare.url)
    assert bare.exec("SELECT to_regclass('kubewitness.events') IS NULL") == "t"


@pytest.mark.parametrize(
    ("between", "says"),
    [
        ("CREATE TABLE kubewitness.trap ()", "Not owned by kubewitness_owner: kubewitness.trap"),
        ("UPDATE kubewitness.index_schema SET version = 99", "version 99, which is newer"),
    ],
)
async def test_a_schema_that_is_not_ours_any_more(bare: Database, between: str, says: str) -> None:
    await upgraded(bare.url)
    bare.exec(between)
    with pytest.raises(SettingsError, match=says):
        await upgraded(bare.url)


async def test_a_schema_without_flags_gets_them(bare: Database) -> None:
    bare.exec("CREATE ROLE app LOGIN PASSWORD 'b'")
    await upgraded(bare.url, "app")
    index = await PostgresIndex.open(bare.login("app", "b"))
    before = some_rows(calls=5)
    await fill(index, before)
    await index.close()
    names = ", ".join(name for name in Row._fields if name != "suspicious")
    bare.exec(
        "DROP VIEW kubewitness_views.events;"
        " ALTER TABLE kubewitness.events DROP COLUMN suspicious;"
        " CREATE VIEW kubewitness_views.events AS"
        f" SELECT {names}, recorded_at FROM kubewitness.events;"
        " ALTER VIEW kubewitness_views.events OWNER TO kubewitness_owner;"
        " UPDATE kubewitness.index_schema SET version = 2"
    )
    assert f"schema version {SCHEMA_VERSION} (was 2)" in await upgraded(bare.url, "app")
    index = await PostgresIndex.open(bare.login("app", "b"))
    await index.attest()
    assert await index.after("w-0", 0, 1000) == [row._replace(suspicious="") for row in before]
    flagged = before[0]._replace(seq=99, suspicious="\noff-hours\n", audit_id="later")
    await index.insert([flagged], "w-0", Position("", 1, 99))
    found = await index.search(Filter(suspicious=("*",), include_noise=True))
    assert [row.seq for row in found.rows] == [99]
    await index.close()


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ("app LOGIN SUPERUSER", "may more than add records"),
        ("app LOGIN CREATEROLE", "may more than add records"),
        ("app LOGIN BYPASSRLS", "may more than add records"),
        ("app LOGIN REPLICATION", "may more than add records"),
        ("app NOLOGIN", "no login 'app'"),
        ("other LOGIN", "no login 'app'"),
    ],
)
async def test_logins_that_serve_must_not_have(bare: Database, role: str, says: str) -> None:
    bare.exec(f"CREATE ROLE {role}")
    with pytest.raises((SettingsError, NotFoundError), match=says):
        await upgraded(bare.url, "app")


async def test_attributes_of_our_roles_are_taken_away(bare: Database) -> None:
    await upgraded(bare.url)
    bare.exec("ALTER ROLE kubewitness_owner LOGIN; ALTER ROLE kubewitness_writer BYPASSRLS")
    told = await upgraded(bare.url)
    assert "role kubewitness_owner: attributes taken away" in told
    assert "role kubewitness_writer: attributes taken away" in told
    assert (
        bare.exec(
            "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'kubewitness%'"
            " AND (rolcanlogin OR rolsuper OR rolbypassrls)"
        )
        == "0"
    )


async def test_rights_that_somebody_granted_are_taken_back(bare: Database) -> None:
    await upgraded(bare.url)
    bare.exec(
        "GRANT DELETE ON kubewitness.open_calls TO kubewitness_writer;"
        "GRANT SELECT ON kubewitness.events TO PUBLIC;"
        "GRANT EXECUTE ON FUNCTION kubewitness.guard(regclass) TO PUBLIC"
    )
    await upgraded(bare.url)
    assert (
        bare.exec(
            "SELECT has_table_privilege('kubewitness_writer', 'kubewitness.open_calls', 'DELETE'),"
            " has_table_privilege('public', 'kubewitness.events', 'SELECT'),"
            " has_function_privilege('public', 'kubewitness.guard(regclass)', 'EXECUTE')"
        )
        == "f|f|f"
    )


async def test_two_at_once(bare: Database) -> None:
    bare.exec("CREATE ROLE app LOGIN PASSWORD 'b'")
    await asyncio.gather(upgraded(bare.url, "app"), upgraded(bare.url, "app"))
    await usable(bare)


@each_version
async def test_it_ends_when_it_fails_in_between(bare: Database) -> None:
    url = administrator(bare)
    with pytest.raises(RuntimeError):
        async with upgrading(url, [], lambda _: None):
            raise RuntimeError
    with pytest.raises(PostgresError, match="permission denied"):
        bare.server.exec(f"SET ROLE {Role.OWNER}", database=bare.name, user="admin", password="a")
    await upgraded(url)


@each_version
async def test_acting_as_the_owner(bare: Database) -> None:
    url = administrator(bare)
    await upgraded(url)
    async with acting_as_owner(url) as connection:
        assert await connection.fetchval("SELECT current_user::text") == Role.OWNER
    with pytest.raises(PostgresError, match="permission denied"):
        bare.server.exec(f"SET ROLE {Role.OWNER}", database=bare.name, user="admin", password="a")


async def test_no_server_is_said_without_a_password() -> None:
    with pytest.raises(UnavailableError) as refused:
        await upgraded("postgresql://admin:hidden@127.0.0.1:1/x")
    assert "hidden" not in str(refused.value)


async def test_again_it_waits_for_no_search_and_holds_up_no_record(bare: Database) -> None:
    await upgraded(bare.url)
    bare.exec("CREATE ROLE app LOGIN PASSWORD 'b'")
    await upgraded(bare.url, "app")
    index = await PostgresIndex.open(bare.login("app", "b"))
    rows = some_rows(calls=200)
    await fill(index, rows[:10])
    search = await asyncpg.connect(bare.url)
    async with search.transaction():
        await search.fetchval("SELECT count(*) FROM kubewitness.events")
        again = asyncio.ensure_future(upgraded(bare.url, "app"))
        took = []
        for number in range(10, len(rows)):
            began = time.monotonic()
            await fill(index, rows[number : number + 1])
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.01)
        await asyncio.wait_for(again, 20)
    assert max(took) < 0.95, "what a call has left of the second it may wait"
    await search.close()
    await index.close()
