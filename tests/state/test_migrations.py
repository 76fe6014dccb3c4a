from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.clock import SystemClock
from proxy.runtime.admin import USER
from proxy.state import credentials, postgres, tables
from proxy.state.access import ORGANIZATION, SubjectKind, UserKind
from proxy.state.database import connect, migrate, sqlite_url
from proxy.state.migrations import HEAD
from proxy.state.reading import read_access
from proxy.state.roles import SCHEMA
from proxy.state.snapshot import Credential, Usage
from proxy.state.tables import metadata
from tests.postgres import Database


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", "proxy:state/migrations")
    config.set_main_option("path_separator", "os")
    return config


def test_head_is_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(configuration()).get_heads() == [HEAD]


async def test_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    engine = connect(sqlite_url(tmp_path / "state.db"))
    try:
        assert await migrate(engine)
        assert not await migrate(engine)
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without a state."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "state.db")
    database: Database = request.getfixturevalue("database")
    return database.url


@asynccontextmanager
async def upgrading(url: str, revision: str) -> AsyncIterator[AsyncConnection]:
    """A connection to the database at `url`, with the schema of an older version."""
    engine = connect(url, admin=True)
    try:
        async with engine.connect() as connection, connection.begin():
            config = configuration()
            on_postgres = connection.dialect.name == "postgresql"
            if on_postgres:
                await postgres.begin_upgrade(connection)
            config.attributes["version_table"] = (
                (postgres.REVISIONS, SCHEMA) if on_postgres else ("alembic_version", None)
            )

            def upgrade(found: Connection) -> None:
                config.attributes["connection"] = found
                command.upgrade(config, revision)

            await connection.run_sync(upgrade)
            yield connection
    finally:
        await engine.dispose()


def issued(
    serial: str,
    user: str,
    now: float,
    usage: Usage = Usage.ADMIN,
    *,
    life: float = 600.0,
    revoked_at: float | None = None,
) -> Credential:
    return Credential(serial, user, (), ("*",), usage, now, now + life, "f", "", revoked_at)


async def test_who_administers_already_goes_on_and_nobody_else_starts(old: str) -> None:
    now = SystemClock().now()
    before = [
        issued("1", "ann", now),
        issued("2", "ann", now),
        issued("3", "bob@x.org", now),
        issued("4", USER, now),
        issued("5", "eve", now, Usage.KUBECTL),
        issued("6", "late", now, life=-1.0),
        issued("7", "gone", now, revoked_at=now),
    ]
    async with upgrading(old, "0004") as connection:
        for item in before:
            row = credentials.row(item) | {"changed": 1}
            await connection.execute(insert(tables.credentials).values(row))
    engine = connect(old, admin=True)
    try:
        assert await migrate(engine)
        async with engine.connect() as connection:
            access = await read_access(connection, now=now)
    finally:
        await engine.dispose()
    assert sorted(access.users) == ["ann", "bob@x.org"]
    assert {user.kind for user in access.users.values()} == {UserKind.PERSON}
    assert sorted(
        (grant.subject_kind, grant.subject, grant.role, grant.scope) for grant in access.grants
    ) == [
        (SubjectKind.USER, "ann", "admin", ORGANIZATION),
        (SubjectKind.USER, "bob@x.org", "admin", ORGANIZATION),
    ]
    assert {grant.reason for grant in access.grants} == {
        "had an admin credential before there were grants"
    }
    assert len({grant.id for grant in access.grants}) == 2
    assert access.version == 1
