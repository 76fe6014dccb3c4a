"""The proxy does to PostgreSQL's clients what it says."""

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.faults.fault_proxy import Cut, FaultProxy, Mode
from tests.postgres import Database

GONE = (OSError, asyncpg.exceptions.PostgresError, asyncpg.exceptions.InterfaceError)


@pytest.fixture
async def proxy(database: Database) -> AsyncIterator[FaultProxy]:
    database.exec("CREATE TABLE t (a int)")
    async with FaultProxy(database.server.port, seed=1) as proxy:
        yield proxy


async def insert(proxy: FaultProxy, database: Database, value: int) -> None:
    connection = await asyncpg.connect(proxy.url(database.url), timeout=5)
    try:
        async with connection.transaction():
            await connection.execute(f"INSERT INTO t VALUES ({value})")
    finally:
        connection.terminate()


def rows(database: Database) -> list[int]:
    return [int(line) for line in database.exec("SELECT a FROM t ORDER BY a").splitlines()]


async def test_it_passes_on_what_it_is_not_told_to_touch(
    proxy: FaultProxy, database: Database
) -> None:
    await insert(proxy, database, 1)
    assert rows(database) == [1]
    assert proxy.counts == {"connections": 1, "commits": 1}


@pytest.mark.parametrize(
    ("cut", "kept"), [(Cut.BEFORE, False), (Cut.AFTER, True), (Cut.MIDWAY, True)]
)
async def test_a_cut_at_the_commit(
    proxy: FaultProxy, database: Database, cut: Cut, kept: bool
) -> None:
    proxy.at_commits(lambda number: cut if number == 1 else None)
    with pytest.raises(GONE):
        await insert(proxy, database, 1)
    await insert(proxy, database, 2)
    assert rows(database) == ([1, 2] if kept else [2])
    assert proxy.counts[cut.value] == 1


async def test_a_race_is_ambiguous_and_nothing_worse(proxy: FaultProxy, database: Database) -> None:
    proxy.cut_commits(1.0, (Cut.RACE,))
    for value in range(20):
        with pytest.raises(GONE):
            await insert(proxy, database, value)
    found = rows(database)
    assert len(set(found)) == len(found)
    assert set(found) <= set(range(20))


async def test_refused_then_well_again(proxy: FaultProxy, database: Database) -> None:
    await proxy.set_mode(Mode.REFUSE)
    with pytest.raises(ConnectionRefusedError):
        await insert(proxy, database, 1)
    await proxy.set_mode(Mode.PASS)
    await insert(proxy, database, 2)
    assert rows(database) == [2]


async def test_a_blackhole_answers_nobody_old_or_new(proxy: FaultProxy, database: Database) -> None:
    old = await asyncpg.connect(proxy.url(database.url))
    await proxy.set_mode(Mode.BLACKHOLE)
    with pytest.raises(TimeoutError):
        await old.execute("SELECT 1", timeout=0.1)
    with pytest.raises(TimeoutError):
        await asyncpg.connect(proxy.url(database.url), timeout=0.1)
    await proxy.set_mode(Mode.PASS)
    old.terminate()
    await insert(proxy, database, 1)
    assert rows(database) == [1]


async def test_connections_that_are_reset(proxy: FaultProxy, database: Database) -> None:
    connection = await asyncpg.connect(proxy.url(database.url))
    waiting = asyncio.create_task(connection.execute("SELECT pg_sleep(30)"))
    await asyncio.sleep(0.05)
    assert proxy.cut() == 1
    with pytest.raises(GONE):
        await waiting


async def test_slow_ones_arrive(proxy: FaultProxy, database: Database) -> None:
    await proxy.set_mode(Mode.TRICKLE)
    proxy.latency = 0.002
    begin = time.monotonic()
    await insert(proxy, database, 1)
    assert time.monotonic() - begin > 0.02
    assert rows(database) == [1]


async def test_chance_follows_from_the_seed() -> None:
    def plans(seed: int) -> list[Cut | None]:
        proxy = FaultProxy(1, seed=seed)
        proxy.cut_commits(0.5)
        made = [proxy.next_commit() for _ in range(50)]
        proxy._holder.close()
        return made

    assert plans(7) == plans(7) != plans(8)
