"""The procedure that removes a partition: each rule stands in its way, for whoever calls it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from proxy.audit.index.blocks import BLOCK
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.removal import (
    ChangedError,
    Partition,
    partitions_before,
    records,
    remove,
)
from proxy.audit.index.postgresql.upgrade import acting_as_owner
from proxy.audit.index.query import Filter
from proxy.audit.index.rows import EVENT, Row
from tests.audit.index.postgresql.databases import Ready, fill, ready_database
from tests.postgres import Postgres

DAY = 86_400_000_000
TODAY = int(time.time() * 1e6) // DAY * DAY
OLD = TODAY - 300 * DAY
"""The day of the records that may go."""
ROWS = [
    Row("w", 1, EVENT, "a", "RequestReceived", terminal=False, at=OLD, line=b"one"),
    Row("w", 2, EVENT, "b", at=OLD + 5, line=b"two"),
    Row("w", 3, EVENT, "c", at=TODAY - 30 * DAY, line=b"three"),
]
RETENTION = f"INSERT INTO kubewitness.retentions VALUES ('r', {TODAY}, 'policy', 'ann', 0);"
APPROVED = RETENTION + (
    "INSERT INTO kubewitness.retention_approvals VALUES ('r', 'ann', 0), ('r', 'bob', 0);"
)
HOLD = "INSERT INTO kubewitness.legal_holds VALUES ('h', {}, {}, 'court', 'ann', 0);"
RELEASE = "INSERT INTO kubewitness.legal_hold_releases VALUES ('h', 'over', 'bob', 0);"


@pytest.fixture(scope="module")
def site(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as made:

        async def begin() -> None:
            index = await PostgresIndex.open(made.url)
            await fill(index, ROWS)
            await index.close()

        asyncio.run(begin())
        yield made


@pytest.fixture
async def owner(site: Ready) -> AsyncIterator[Any]:
    """A connection of the owner, in a transaction that comes to nothing."""
    async with acting_as_owner(site.database.url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield connection
        await transaction.rollback()


async def old(owner: Any) -> Partition:
    return next(p for p in await partitions_before(owner, TODAY) if p.low == OLD)


async def test_what_there_is(owner: Any) -> None:
    found = await partitions_before(owner, OLD + DAY)
    assert found[-1] == await old(owner)
    assert found[-1].high == OLD + DAY
    assert len(found) == 1, "that of the past is empty"
    assert [item async for item in records(owner, found[-1])] == [
        ("w", 1, b"one"),
        ("w", 2, b"two"),
    ]


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("", "there is no retention r"),
        (RETENTION, "retention r is not approved"),
        (APPROVED + HOLD.format("NULL", "NULL"), "kept by legal hold h"),
        (APPROVED + HOLD.format(OLD, OLD + 1), "kept by legal hold h"),
        (APPROVED + HOLD.format("NULL", OLD + 1), "kept by legal hold h"),
        (APPROVED + HOLD.format(OLD + DAY - 1, "NULL"), "kept by legal hold h"),
        (APPROVED + HOLD.format(OLD + DAY, "NULL"), ""),
        (APPROVED + HOLD.format("NULL", OLD), ""),
        (APPROVED + HOLD.format("NULL", "NULL") + RELEASE, ""),
        (APPROVED.replace(str(TODAY), str(OLD + DAY - 1)), "too young"),
        (APPROVED.replace(str(TODAY), str(OLD + DAY)), ""),
    ],
)
async def test_each_rule(owner: Any, before: str, says: str) -> None:
    partition = await old(owner)
    if before:
        await owner.execute(before)
    if says:
        with pytest.raises(asyncpg.RaiseError, match=says):
            await remove(owner, partition, "r", 2)
    else:
        await remove(owner, partition, "r", 2)
        assert partition not in await partitions_before(owner, TODAY)


async def test_young_records_stay_whatever_is_approved(owner: Any) -> None:
    await owner.execute(APPROVED)
    young = next(p for p in await partitions_before(owner, TODAY) if p.low == TODAY - 30 * DAY)
    with pytest.raises(asyncpg.RaiseError, match="too young"):
        await remove(owner, young, "r", 1)


@pytest.mark.parametrize("name", ["open_calls", "removed", "events", "blocks"])
async def test_nothing_but_partitions(owner: Any, name: str) -> None:
    await owner.execute(APPROVED)
    with pytest.raises(asyncpg.RaiseError, match="no partition"):
        await remove(owner, Partition(name, 0, 1), "r", 0)


async def test_what_went_is_told(owner: Any) -> None:
    await owner.execute(APPROVED)
    partition = await old(owner)
    await remove(owner, partition, "r", 2)
    told = await owner.fetchrow(
        "SELECT partition, low, high, writer, first_seq, last_seq, records FROM kubewitness.removed"
    )
    assert tuple(told) == (*partition, "w", 1, 2, 2)
    assert await owner.fetchval("SELECT count(*) FROM kubewitness.open_calls") == 0
    assert partition not in await partitions_before(owner, TODAY)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.execute("DELETE FROM kubewitness.removed")


@pytest.mark.parametrize("checked", [1, 3])
async def test_what_was_not_checked_stays(owner: Any, checked: int) -> None:
    await owner.execute(APPROVED)
    partition = await old(owner)
    with pytest.raises(ChangedError, match=f"has 2 records now, and {checked} were checked"):
        await remove(owner, partition, "r", checked)
    assert [item async for item in records(owner, partition)] == [
        ("w", 1, b"one"),
        ("w", 2, b"two"),
    ]
    assert await owner.fetchval("SELECT count(*) FROM kubewitness.removed") == 0


@pytest.fixture
def another(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as made:
        yield made


async def test_what_went_is_not_counted_any_more(another: Ready) -> None:
    index = await PostgresIndex.open(another.url)
    rows = [
        Row("w", seq, EVENT, f"id-{seq}", at=OLD + seq if seq < 40 else TODAY + seq, line=b"x")
        for seq in (*range(1, 80), BLOCK, BLOCK + 1)
    ]
    await fill(index, rows)
    everything = Filter(include_noise=True)
    assert (await index.stats(everything, "user")).total == len(rows)
    async with acting_as_owner(another.database.url) as owner:
        await owner.execute(APPROVED)
        await remove(owner, await old(owner), "r", 39)
    assert (await index.stats(everything, "user")).total == len(rows) - 39
    assert await index.count(everything) == len(rows) - 39
    await index.close()


async def test_calls_are_recorded_while_it_waits_for_a_search(another: Ready) -> None:
    index = await PostgresIndex.open(another.url)
    await fill(index, ROWS)
    search = await asyncpg.connect(another.database.url)
    reading = search.transaction()
    await reading.start()
    await search.fetchval("SELECT count(*) FROM kubewitness.events")
    async with acting_as_owner(another.database.url) as owner:
        await owner.execute(APPROVED)
        removing = asyncio.ensure_future(remove(owner, await old(owner), "r", 2))
        took = []
        for seq in range(4, 24):
            began = time.monotonic()
            await fill(index, [Row("w", seq, EVENT, f"id-{seq}", at=TODAY, line=b"x")])
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.1)
        assert not removing.done()
        await reading.rollback()
        await asyncio.wait_for(removing, 30)
    assert max(took) < 0.95, "what a call has left of the second it may wait"
    assert [row.seq for row in await index.after("w", 0, 100)] == list(range(3, 24))
    await search.close()
    await index.close()
