"""The state on each database it may be in."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.clock import ManualClock
from proxy.state.database import connect, migrate, sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from tests.postgres import Database, Postgres, temporary_database

LOGIN = "kw_state_login"
PASSWORD = "pass/word"  # what a URL has to escape

_RESET = """
    TRUNCATE kubewitness.clusters, kubewitness.credentials, kubewitness.authorities,
        kubewitness.users, kubewitness.groups, kubewitness.projects, kubewitness.roles,
        kubewitness.grants, kubewitness.tokens, kubewitness.sightings, kubewitness.reconcilers, kubewitness.retentions,
        kubewitness.noted_acts, kubewitness.retention_approvals, kubewitness.legal_holds, kubewitness.legal_hold_releases;
    UPDATE kubewitness.meta SET version = 1, access_version = 1, sealed_with = '';
"""


def upgrade(database: Database) -> None:
    """What `kubewitness db upgrade` does for the state, and a login that may use it."""

    async def run() -> None:
        engine = connect(database.url, admin=True)
        try:
            await migrate(engine)
        finally:
            await engine.dispose()

    asyncio.run(run())
    database.exec(
        f"""
        DO $$ BEGIN
          IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{LOGIN}') THEN
            CREATE ROLE {LOGIN} LOGIN PASSWORD '{PASSWORD}';
          END IF;
        END $$;
        GRANT kubewitness_state TO {LOGIN};
        """
    )


@pytest.fixture(scope="session")
def _upgraded(postgres: Postgres) -> Iterator[Database]:
    with temporary_database(postgres) as database:
        upgrade(database)
        yield database


@pytest.fixture
def state_database(_upgraded: Database) -> Database:
    """A PostgreSQL database with an empty state, as `kubewitness db upgrade` leaves it."""
    _upgraded.exec(_RESET)
    return _upgraded


@pytest.fixture
def postgres_url(state_database: Database) -> str:
    """The URL of an empty state in PostgreSQL, with the rights of a proxy."""
    return state_database.login(LOGIN, PASSWORD)


@pytest.fixture
def sqlite_file(tmp_path: Path) -> str:
    """The URL of a state in SQLite that is not there yet."""
    return sqlite_url(tmp_path / "state.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty state: each test that asks for it runs on both databases."""
    name = {"sqlite": "sqlite_file", "postgresql": "postgres_url"}[request.param]
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture
def clock() -> ManualClock:
    """Time that tests own."""
    return ManualClock()


@pytest.fixture
async def registry(url: str, clock: ManualClock) -> AsyncIterator[StateStore]:
    """A state that knows the cluster `prod`, and nobody."""
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=clock)
    await store.add_cluster("prod", server="https://s", kubeconfig=b"k")
    yield store
    await store.close()
