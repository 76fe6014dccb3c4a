"""What `db status` finds, good and bad."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.connecting import connect
from proxy.errors import SettingsError, UnavailableError
from proxy.runtime.database import open_index, status, upgrade
from proxy.state.roles import Role
from tests.audit.index.postgresql.databases import Ready, fill, ready_database, some_rows
from tests.postgres import Database, Postgres


@pytest.fixture
def ready(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as ready:
        yield ready


async def test_writers_and_their_gaps(ready: Ready) -> None:
    index = await open_index(ready.url)
    rows = some_rows()
    await fill(index, rows)
    found = await status(ready.url, count=True)
    assert (found.problem, found.partitions > 7) == ("", True)
    assert [(w.writer, w.last, w.gap) for w in found.writers] == [("w-0", len(rows), 0)]
    later = [row._replace(seq=row.seq + len(rows) + 5) for row in rows[:1]]
    await fill(index, later)
    assert [w.gap for w in (await status(ready.url, count=True)).writers] == [5]
    assert [w.gap for w in (await status(ready.url, count=False)).writers] == [None]
    await index.close()


async def test_room_for_locks(ready: Ready) -> None:
    found = await status(ready.url, count=False)
    assert found.locks == 64 * 100, "as PostgreSQL has it by default"
    # 411 partitions of a real server took 17 such transactions, and refused the 18th.
    for partitions, processes in ((11, 58), (411, 1), (641, 0), (0, 640)):
        assert replace(found, partitions=partitions).processes == processes


async def test_a_search_takes_as_many_locks_as_we_count(ready: Ready) -> None:
    connection = await connect(ready.url, Role.READER)
    async with connection.transaction():
        await connection.fetch("SELECT FROM events WHERE writer = 'nobody'")
        taken = await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'"
        )
    await connection.close()
    partitions = (await status(ready.url, count=False)).partitions
    assert 0 <= taken - 4 * partitions < 10, "and a few that are no partition's"


async def test_what_counts_as_down_is_told(ready: Ready) -> None:
    ready.database.exec("ALTER TABLE kubewitness.events_past SET UNLOGGED")
    assert "UNLOGGED" in (await status(ready.url, count=False)).problem
    with pytest.raises(UnavailableError, match="UNLOGGED"):
        await open_index(ready.url)


async def test_without_a_schema(database: Database) -> None:
    with pytest.raises(SettingsError):
        await status(database.url, count=False)
    said: list[str] = []
    await upgrade(database.url, [], said.append)
    assert any("state tables" in line for line in said)
    index = PostgresIndex(database.url)
    assert await index.positions() == {}
    await index.close()
