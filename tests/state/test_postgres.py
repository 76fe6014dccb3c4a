"""Who may do what with the state in PostgreSQL, and when a proxy does not start on it."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from proxy.clock import ManualClock
from proxy.errors import SettingsError
from proxy.state.database import connect, migrate
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from tests.postgres import Database, Postgres, promote
from tests.postgres_programs import PostgresError
from tests.state.conftest import LOGIN, PASSWORD, upgrade
from tests.state.people import credential
from tests.write_tables import README


async def open_and_close(url: str, box: SecretBox | None = None) -> None:
    store = await StateStore.open(url, box or SecretBox(bytes(32)), clock=ManualClock())
    await store.close()


async def test_a_database_that_was_never_upgraded_is_refused(
    database: Database, state_database: Database
) -> None:
    with pytest.raises(SettingsError, match=r"no tables of kubewitness.*db upgrade"):
        await open_and_close(database.login(LOGIN, PASSWORD))


async def test_a_login_without_the_role_is_refused(state_database: Database) -> None:
    state_database.exec("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN PASSWORD 'pw'")
    try:
        with pytest.raises(
            SettingsError, match='permission denied to set role "kubewitness_state"'
        ):
            await open_and_close(state_database.login("stranger", "pw"))
    finally:
        state_database.exec("DROP ROLE stranger")


@pytest.mark.parametrize(
    ("found", "hint"), [("0001", "db upgrade"), ("9999", "version of kubewitness that upgraded it")]
)
async def test_a_schema_of_another_version_is_refused(
    postgres_url: str, state_database: Database, found: str, hint: str
) -> None:
    before = state_database.exec("SELECT version_num FROM kubewitness.state_revision")
    state_database.exec(f"UPDATE kubewitness.state_revision SET version_num = '{found}'")
    try:
        with pytest.raises(SettingsError, match=f"has schema {found}.*{hint}"):
            await open_and_close(postgres_url)
    finally:
        state_database.exec(f"UPDATE kubewitness.state_revision SET version_num = '{before}'")


async def test_a_wrong_password_is_told_and_not_shown(state_database: Database) -> None:
    with pytest.raises(SettingsError, match="password authentication failed") as caught:
        await open_and_close(state_database.login(LOGIN, "not-this-one"))
    assert "not-this-one" not in str(caught.value)


async def test_upgrading_again_or_at_once_changes_nothing(database: Database) -> None:
    engines = [connect(database.url, admin=True) for _ in range(4)]
    try:
        made = await asyncio.gather(*(migrate(engine) for engine in engines))
        assert sorted(made) == [False, False, False, True]
    finally:
        for engine in engines:
            await engine.dispose()
    assert database.exec("SELECT version FROM kubewitness.meta") == "1"


async def test_an_administrator_need_not_be_superuser(database: Database) -> None:
    database.exec(
        f"""
        CREATE ROLE helper LOGIN CREATEROLE PASSWORD 'pw';
        GRANT CREATE, CONNECT ON DATABASE "{database.name}" TO helper;
        GRANT kubewitness_owner, kubewitness_state TO helper WITH ADMIN OPTION;
        """
    )
    engine = connect(database.login("helper", "pw"), admin=True)
    try:
        assert await migrate(engine)
    finally:
        await engine.dispose()
        database.exec("DROP OWNED BY helper; DROP ROLE helper")


ATTACKS = [
    "DROP TABLE kubewitness.credentials",
    "TRUNCATE kubewitness.credentials",
    "DELETE FROM kubewitness.credentials",
    "DELETE FROM kubewitness.users",
    "DELETE FROM kubewitness.grants",
    "DELETE FROM kubewitness.tokens",
    "TRUNCATE kubewitness.grants",
    "DELETE FROM kubewitness.meta",
    "INSERT INTO kubewitness.meta VALUES (2, 2, '')",
    "ALTER TABLE kubewitness.clusters ADD COLUMN x int",
    "ALTER TABLE kubewitness.credentials DISABLE TRIGGER ALL",
    "CREATE TABLE kubewitness.mine (a int)",
    "CREATE TRIGGER t BEFORE INSERT ON kubewitness.credentials EXECUTE FUNCTION f()",
    "UPDATE kubewitness.retention_approvals SET approved_by = 'other'",
    "DELETE FROM kubewitness.legal_holds",
    "UPDATE kubewitness.state_revision SET version_num = '0'",
    "SET ROLE kubewitness_owner",
]


@pytest.mark.parametrize("sql", ATTACKS)
def test_the_login_may_not(state_database: Database, sql: str) -> None:
    with pytest.raises(PostgresError, match=r"permission denied|must be owner"):
        state_database.server.exec(sql, database=state_database.name, user=LOGIN, password=PASSWORD)


async def test_another_key_is_refused_before_anything_is_mixed(
    postgres_url: str, state_database: Database
) -> None:
    await open_and_close(postgres_url, SecretBox(bytes(32), "first.key"))
    other = SecretBox(bytes(31) + b"x", "second.key")
    with pytest.raises(SettingsError, match=r"sealed with key .* and second\.key holds key"):
        await open_and_close(postgres_url, other)
    await open_and_close(postgres_url, SecretBox(bytes(32), "first.key"))


async def test_a_key_is_known_by_what_it_sealed_too(
    postgres_url: str, state_database: Database
) -> None:
    store = await StateStore.open(postgres_url, SecretBox(bytes(32)), clock=ManualClock())
    await store.add_cluster("prod", server="https://s", kubeconfig=b"k")
    await store.close()
    state_database.exec("UPDATE kubewitness.meta SET sealed_with = ''")
    with pytest.raises(SettingsError, match="sealed with key"):
        await open_and_close(postgres_url, SecretBox(bytes(31) + b"x"))


async def test_a_lost_key_is_replaced_as_the_readme_says(
    postgres_url: str, state_database: Database
) -> None:
    store = await StateStore.open(postgres_url, SecretBox(bytes(32)), clock=ManualClock())
    await store.add_cluster("prod", server="https://s", kubeconfig=b"k")
    before = await store.version()
    await store.close()
    new = SecretBox(bytes(31) + b"x")
    with pytest.raises(SettingsError, match="README, Secrets at rest"):
        await open_and_close(postgres_url, new)
    state_database.exec(
        re.findall(r"```\n( *DELETE FROM .*?)```", README.read_text(), re.DOTALL)[0]
    )
    store = await StateStore.open(postgres_url, new, clock=ManualClock())
    assert await store.version() > before, "who has seen the old state looks again"
    assert not (await store.snapshot()).clusters
    added = await store.add_cluster("prod", server="https://s", kubeconfig=b"k")
    assert store.kubeconfig(added) == b"k"
    await store.close()


async def test_two_first_starts_with_two_keys_let_one_in(postgres_url: str) -> None:
    boxes = [SecretBox(bytes(31) + bytes([number])) for number in range(4)]
    found = await asyncio.gather(
        *(open_and_close(postgres_url, box) for box in boxes), return_exceptions=True
    )
    assert sorted(type(item).__name__ for item in found) == ["NoneType", *3 * ["SettingsError"]]


def test_the_fixture_upgrades_as_the_command_does(database: Database) -> None:
    upgrade(database)
    assert database.exec(
        "SELECT nspowner::regrole FROM pg_namespace WHERE nspname='kubewitness'"
    ) == ("kubewitness_owner")


@contextmanager
def own_server() -> Iterator[Database]:
    """A state on a server that can be a standby."""
    with Postgres(settings={"wal_level": "replica"}) as server:
        database = server.create_database()
        upgrade(database)
        yield database


async def test_a_standby_that_lacked_the_last_changes_is_read_from_the_beginning() -> None:
    """Its next changes have versions that are known already, and mean something else."""
    making, box, clock = own_server(), SecretBox(bytes(32)), ManualClock()
    database = await asyncio.to_thread(making.__enter__)
    store = await StateStore.open(database.login(LOGIN, PASSWORD), box, clock=clock)
    try:
        for serial in ("a", "b"):
            await store.record_credential(credential(serial, clock.now()))
        before = await store.version()
        await store.revoke(serial="a", reason="lost")
        seen = await store.snapshot()
        assert await store.snapshot(seen) is seen
        await asyncio.to_thread(
            database.exec,
            "UPDATE kubewitness.credentials SET revoked_at = NULL WHERE serial = 'a';"
            f" UPDATE kubewitness.meta SET version = {before}",
        )
        await asyncio.to_thread(promote, database.server)
        await store.revoke(serial="b", reason="stolen")
        found = await store.snapshot(seen)
        assert found.version == seen.version
        assert found.server != seen.server
        assert [name for name, one in found.credentials.items() if one.revoked_at] == ["b"]
        assert await store.snapshot(found) is found
    finally:
        await store.close()
        await asyncio.to_thread(making.__exit__, None, None, None)
