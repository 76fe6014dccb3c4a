"""Live tails over a shared index: rows of everybody, once, in each writer's order."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest

from proxy.audit.index import live
from proxy.audit.index.listeners import Subscription
from proxy.audit.index.live import LiveRows
from proxy.audit.index.query import Filter
from proxy.audit.index.rows import Row
from proxy.audit.index.store import Position
from proxy.errors import UnavailableError
from proxy.tasks import cancel, spawn
from tests.audit.shared_index import MemoryIndex

ALL = Filter(include_noise=True)


async def commit(index: MemoryIndex, writer: str, *seqs: int) -> None:
    rows = [Row(writer, seq, "Event", line=b"%d" % seq) for seq in seqs]
    await index.insert(rows, writer, Position("", 0, seqs[-1]))


@pytest.fixture
async def rows() -> AsyncIterator[tuple[MemoryIndex, LiveRows]]:
    index = MemoryIndex()
    await commit(index, "a-main", 1, 2, 3)
    found = LiveRows(index)
    running = spawn(found.run(), name="live rows")
    yield index, found
    await cancel(running)


async def heard(subscription: Subscription, count: int) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    async with asyncio.timeout(5):
        for _ in range(count):
            row = await anext(subscription)
            assert isinstance(row, Row)
            found[row.writer].append(row.seq)
    return found


async def listening(index: MemoryIndex) -> None:
    async with asyncio.timeout(5):
        while not index._heard:
            await asyncio.sleep(0.001)


async def test_rows_of_every_writer_once_and_in_order(
    rows: tuple[MemoryIndex, LiveRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, found = rows
    monkeypatch.setattr(live, "PAGE", 2)
    async with found.subscribe(ALL) as one, found.subscribe(ALL) as two:
        await listening(index)
        await commit(index, "b-main", 1)
        await commit(index, "a-main", 4, 5, 6, 7, 8)
        await commit(index, "b-main", 2)
        await commit(index, "a-main", 9)
        for subscription in (one, two):
            assert await heard(subscription, 8) == {"a-main": [4, 5, 6, 7, 8, 9], "b-main": [1, 2]}


async def test_what_no_notice_announced_is_found_by_polling(
    rows: tuple[MemoryIndex, LiveRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, found = rows
    monkeypatch.setattr(live, "POLL", 0.01)
    async with found.subscribe(ALL) as subscription:
        await listening(index)
        notices, index._heard = index._heard, []
        await commit(index, "c-main", 1, 2)
        index._heard = notices
        assert await heard(subscription, 2) == {"c-main": [1, 2]}


async def test_nothing_is_read_while_nobody_listens(rows: tuple[MemoryIndex, LiveRows]) -> None:
    index, found = rows
    async with found.subscribe(ALL):
        await listening(index)
    async with asyncio.timeout(5):
        while index._heard:
            await asyncio.sleep(0.001)
    index.asked.clear()
    await commit(index, "a-main", 4)
    await asyncio.sleep(0.05)
    assert index.asked == ["insert"]
    async with found.subscribe(ALL) as subscription:
        await listening(index)
        await commit(index, "a-main", 5)
        assert await heard(subscription, 1) == {"a-main": [5]}, "from now on"


async def test_an_outage_is_made_up_for(
    rows: tuple[MemoryIndex, LiveRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, found = rows
    monkeypatch.setattr(live, "RETRY", 0.01)
    monkeypatch.setattr(live, "POLL", 0.01)
    async with found.subscribe(ALL) as subscription:
        await listening(index)
        index.down = "gone"
        await asyncio.sleep(0.05)
        index.down = ""
        await commit(index, "a-main", 4, 5)
        assert await heard(subscription, 2) == {"a-main": [4, 5]}


async def test_a_defect_of_the_driver_does_not_end_it(
    rows: tuple[MemoryIndex, LiveRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, found = rows
    monkeypatch.setattr(live, "RETRY", 0.01)
    monkeypatch.setattr(live, "POLL", 0.01)
    failed = asyncio.Event()

    async def broken(*_: object) -> None:
        failed.set()
        raise RuntimeError("unable to perform operation on a closed transport")

    async with found.subscribe(ALL) as subscription:
        await listening(index)
        with monkeypatch.context() as patched:
            for name in ("after", "positions", "hear"):
                patched.setattr(index, name, broken)
            await asyncio.wait_for(failed.wait(), 5)
            await asyncio.sleep(0.03)
        await commit(index, "a-main", 4, 5)
        assert await heard(subscription, 2) == {"a-main": [4, 5]}


async def test_who_begins_while_the_database_is_away_is_told(
    rows: tuple[MemoryIndex, LiveRows],
) -> None:
    index, found = rows
    index.down = "gone"
    with pytest.raises(UnavailableError):
        async with found.subscribe(ALL):
            pass
