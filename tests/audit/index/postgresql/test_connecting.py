"""Connections: one role each, never a broken one twice, and errors that hold no secret."""

import asyncio
import socket

import asyncpg
import pytest

from proxy.audit.index.postgresql.connecting import Session, connect, translated
from proxy.errors import KubewitnessError, SettingsError, UnavailableError
from proxy.settings import is_postgresql
from proxy.state.roles import Role
from tests.postgres import Postgres


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://db/x", True),
        ("postgres://db/x", True),
        ("postgresql+asyncpg://db/x", False),
        ("sqlite:///x", False),
        ("", False),
    ],
)
def test_which_urls_are_ours(url: str, expected: bool) -> None:
    assert is_postgresql(url) is expected


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (asyncpg.InvalidPasswordError("no"), UnavailableError, "refuses the login"),
        (asyncpg.InvalidCatalogNameError("no"), UnavailableError, "refuses the login"),
        (asyncpg.exceptions.ClientConfigurationError("s3cret"), SettingsError, "not a URL"),
        (asyncpg.UndefinedTableError("no"), SettingsError, "no current schema"),
        (asyncpg.UndefinedFunctionError("no"), SettingsError, "no current schema"),
        (asyncpg.InsufficientPrivilegeError("no"), SettingsError, "does not let us"),
        (asyncpg.DiskFullError("no\nDETAIL: s3cret"), UnavailableError, "PostgreSQL: no."),
        (asyncpg.ConnectionDoesNotExistError("gone"), UnavailableError, "gone"),
        (TimeoutError(), UnavailableError, "in time"),
        (ConnectionRefusedError("no"), UnavailableError, "cannot be reached"),
        (asyncpg.exceptions.InterfaceError("closed"), UnavailableError, "cannot be reached"),
    ],
)
def test_errors_are_ours(error: Exception, kind: type[KubewitnessError], says: str) -> None:
    with pytest.raises(kind) as raised, translated():
        raise error
    assert says in raised.value.message
    assert "s3cret" not in str(raised.value)


async def test_the_session_is_what_we_rely_on(postgres: Postgres) -> None:
    postgres.exec(
        "DROP ROLE IF EXISTS odd; CREATE ROLE odd LOGIN PASSWORD 'x';"
        "ALTER ROLE odd SET synchronous_commit = off; ALTER ROLE odd SET statement_timeout = 1;"
        "ALTER ROLE odd SET search_path = public; ALTER ROLE odd SET timezone = 'Asia/Kathmandu'"
    )
    connection = await connect(postgres.dsn("odd", "x"), None)
    try:
        for name, value in (
            ("synchronous_commit", "on"),
            ("statement_timeout", "1min"),
            ("search_path", "pg_catalog, pg_temp"),
            ("timezone", "UTC"),
            ("jit", "off"),
        ):
            assert await connection.fetchval("SELECT current_setting($1)", name) == value
    finally:
        await connection.close()
        postgres.exec("DROP ROLE odd")


@pytest.fixture
async def session(postgres: Postgres) -> Session:
    postgres.exec(
        f"DO $$ BEGIN IF to_regrole('{Role.WRITER}') IS NULL THEN CREATE ROLE {Role.WRITER}; END IF;"
        " END $$"
    )
    return Session(postgres.dsn(), Role.WRITER)


async def test_one_connection_is_kept_until_trouble(session: Session) -> None:
    async with session.use() as first:
        assert await first.fetchval("SELECT current_user::text") == Role.WRITER
    async with session.use() as second:
        assert second is first
    assert session.generation == 1
    with pytest.raises(UnavailableError):
        async with session.use() as connection:
            await connection.execute("SELECT 1 / 0")
    async with session.use() as third:
        assert third is not first
        assert await third.fetchval("SELECT 1") == 1
    assert session.generation == 2
    await session.close()
    await session.close()


async def test_a_cancelled_user_leaves_no_half_answer(session: Session) -> None:
    async def wait() -> None:
        async with session.use() as connection:
            await connection.execute("SELECT pg_sleep(60)")

    for _ in range(3):
        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with session.use() as connection:
        assert await connection.fetchval("SELECT 7") == 7
    await session.close()


async def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(UnavailableError, match="in time"):
            await connect(f"postgresql://u@127.0.0.1:{port}/x?sslmode=disable", None, seconds=0.2)
