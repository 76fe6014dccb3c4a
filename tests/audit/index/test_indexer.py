"""The indexer: every durable record once, whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from proxy.audit.event import User
from proxy.audit.index.indexer import SILENCE, Indexer
from proxy.audit.index.listeners import Missed
from proxy.audit.index.query import Filter
from proxy.audit.index.rows import Row
from proxy.audit.index.schema import events
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Position
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import ManualClock
from proxy.errors import UnavailableError
from proxy.metrics import Metrics
from tests.audit.journals import NOW, FaultyStorage, a_call, intent, outcome, settings, writing
from tests.audit.reading import records

ALL = Filter(include_noise=True)


async def indexed(index: SqliteIndex) -> list[int]:
    found = await index._all(select(events.c.seq).order_by(events.c.writer, events.c.seq))
    return [seq for (seq,) in found]


async def expect_all(index: SqliteIndex, data_dir: Path) -> None:
    expected = [record["seq"] for record in records(data_dir)]
    assert await indexed(index) == expected


class Interrupted(Exception):  # noqa: N818
    pass


class BreakingIndex(SqliteIndex):
    """Fails before or after the transaction of chosen inserts."""

    fail_before: frozenset[int] = frozenset()
    fail_after: frozenset[int] = frozenset()
    inserts = 0

    async def insert(self, rows: Sequence[Row], writer: str, position: Position) -> None:
        self.inserts += 1
        if self.inserts in self.fail_before:
            raise UnavailableError("before")
        await super().insert(rows, writer, position)
        if self.inserts in self.fail_after:
            raise UnavailableError("after")


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqliteIndex]:
    made = await SqliteIndex.open(tmp_path / "index.db")
    yield made
    await made.close()


def indexer(data_dir: Path, index: SqliteIndex, clock: ManualClock) -> Indexer:
    return Indexer(data_dir / "journal", index, clock=clock)


async def test_follows_a_writer_across_segments(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: SqliteIndex
) -> None:
    work = indexer(tmp_path, index, clock)
    assert await work.catch_up() == 0
    async with writing(tmp_path, disk, clock) as journal:
        for _ in range(5):
            futures = [journal.append(intent(a_call())) for _ in range(60)]
            await asyncio.gather(*futures)
            assert await work.catch_up() >= 60
            await expect_all(index, tmp_path)
        assert await work.catch_up() == 0
    await work.catch_up()
    await expect_all(index, tmp_path)
    assert len(list((tmp_path / "journal" / "0").glob("*.jsonl"))) > 2


async def test_a_new_indexer_goes_on_where_the_last_one_was(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: SqliteIndex
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        for _ in range(4):
            await asyncio.gather(*[journal.append(intent(a_call())) for _ in range(70)])
            assert await indexer(tmp_path, index, clock).catch_up() >= 70
            assert await indexer(tmp_path, index, clock).catch_up() == 0
    await indexer(tmp_path, index, clock).catch_up()
    await expect_all(index, tmp_path)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_around_a_transaction_it_neither_loses_nor_repeats(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, when: str
) -> None:
    index = await BreakingIndex.open(tmp_path / "index.db")
    setattr(index, f"fail_{when}", {1, 2, 4})
    async with writing(tmp_path, disk, clock) as journal:
        for _ in range(5):
            await asyncio.gather(*[journal.append(intent(a_call())) for _ in range(40)])
            try:
                await indexer(tmp_path, index, clock).catch_up()
            except UnavailableError:
                continue
    await indexer(tmp_path, index, clock).catch_up()
    await expect_all(index, tmp_path)
    await index.close()


async def test_several_writers_and_the_dead(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: SqliteIndex
) -> None:
    for slot in ("0", "1", "control"):
        journal = await JournalWriter.open(tmp_path, slot, settings(), clock=clock)
        await asyncio.gather(*[journal.append(intent(a_call())) for _ in range(30)])
        if slot == "1":
            journal._stop()  # dead: no seal
            journal._unlock()
        else:
            await journal.close()
    assert await indexer(tmp_path, index, clock).catch_up() == 3 * 31 + 2
    positions = await index.positions()
    assert sorted(position.seq for position in positions.values()) == [31, 32, 32]


async def test_a_rewritten_batch_is_indexed_once(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: SqliteIndex
) -> None:
    work = indexer(tmp_path, index, clock)
    async with writing(tmp_path, disk, clock) as journal:
        await journal.append(intent(a_call()))
        disk.hold.clear()
        hit = journal.append(intent(a_call()))
        await asyncio.to_thread(disk.waiting.wait)
        await work.catch_up()  # sees the batch that will be written again
        disk.fail["sync 1"] = OSError(5, "Input/output error")
        disk.hold.set()
        await hit
        await journal.append(intent(a_call()))
        await work.catch_up()
    await work.catch_up()
    await expect_all(index, tmp_path)
    assert await index.count(Filter(kinds=("Event",))) == 3


async def test_run_wakes_and_listeners_hear(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: SqliteIndex
) -> None:
    work = indexer(tmp_path, index, clock)
    task = asyncio.get_running_loop().create_task(work.run())
    async with writing(tmp_path, disk, clock) as journal:
        journal.on_durable(work.wake)
        async with work.subscribe(Filter(users=("bob",))) as subscription:
            call = a_call(user=User("bob"))
            await journal.append(intent(a_call()))
            await journal.append(outcome(call))
            async with asyncio.timeout(5):
                row = await anext(subscription)
            assert isinstance(row, Row)
            assert row.audit_id == call.audit_id
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_slow_listener_is_told_what_it_missed(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: SqliteIndex
) -> None:
    work = indexer(tmp_path, index, clock)
    async with (
        writing(tmp_path, disk, clock) as journal,
        work.subscribe(ALL, size=10) as subscription,
    ):
        for _ in range(25):
            journal.post(intent(a_call()))
        await journal.append(intent(a_call()))
        await work.catch_up()
        assert await anext(subscription) == Missed(17)
        first = await anext(subscription)
        assert isinstance(first, Row)
        assert first.seq == 18


async def test_an_index_of_another_schema_is_made_anew(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    path = tmp_path / "index.db"
    async with writing(tmp_path, disk, clock) as journal:
        await journal.append(intent(a_call()))
    for spoil in (
        "UPDATE index_schema SET version = 0",
        "DROP TABLE index_schema",
        None,
    ):
        index = await SqliteIndex.open(path)
        await indexer(tmp_path, index, clock).catch_up()
        await expect_all(index, tmp_path)
        async with index._writer.begin() as connection:
            if spoil:
                await connection.exec_driver_sql(spoil)
        await index.close()
        if spoil is None:
            path.write_bytes(b"not a database at all" * 1000)
    index = await SqliteIndex.open(path)
    assert await index.positions() == {}
    await index.close()


async def test_hostile_text_is_indexed_and_kept_whole(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: SqliteIndex
) -> None:
    agent = "a\u0000b' -- \"%_\U0001f600\u202e" + "x" * 70_000
    async with writing(tmp_path, disk, clock) as journal:
        await journal.append(outcome(a_call(user_agent=agent), at=NOW))
        await journal.append(b'"kind":"Event","auditID":"lone","userAgent":"\\ud800"')
        await journal.append(b'"kind":["not","text"]')
    await indexer(tmp_path, index, clock).catch_up()
    found = await index.search(Filter(text="A\u0000B' -- \"%_"))
    assert len(found.rows) == 1
    written = b"".join(path.read_bytes() for path in sorted(tmp_path.rglob("*.jsonl")))
    assert b"\n" + found.rows[0].line + b"\n" in written
    assert len(found.rows[0].line) > 70_000
    assert await index.count(Filter(kinds=("Unreadable",))) == 2
    await expect_all(index, tmp_path)


async def test_it_carries_only_the_slots_it_is_given(
    tmp_path: Path, clock: ManualClock, index: SqliteIndex
) -> None:
    for slot in ("main", "worker-1", "worker-2"):
        journal = await JournalWriter.open(tmp_path, slot, settings(), clock=clock)
        await journal.close()
    some = Indexer(
        tmp_path / "journal", index, clock=clock, carries=lambda slot: slot != "worker-1"
    )
    assert await some.catch_up() == 4
    assert sorted(writer[9:] for writer in await index.positions()) == ["main", "worker-2"]


async def test_silence_is_a_failure(tmp_path: Path, clock: ManualClock, index: SqliteIndex) -> None:
    work = indexer(tmp_path, index, clock)
    await work.catch_up()
    assert work.failure() == ""
    clock.advance(SILENCE + 1)
    assert work.failure() == "no pass has ended for 11 s; 0 records are not in the index yet"
    await work.catch_up()
    assert work.failure() == ""


async def test_lag_is_measured_at_the_journals_while_the_index_is_away(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    index = await BreakingIndex.open(tmp_path / "index.db")
    metrics = Metrics()
    work = Indexer(tmp_path / "journal", index, clock=clock, metrics=metrics)

    def shown() -> tuple[float | None, float | None]:
        read = metrics.registry.get_sample_value
        return read("kubewitness_index_lag_records"), read("kubewitness_index_lag_seconds")

    async with writing(tmp_path, disk, clock) as journal:
        await journal.append(intent(a_call()))
        await work.catch_up()
        await work.lag.measure()
        assert shown() == (0, 0)
        index.fail_before = frozenset(range(100))
        for _ in range(3):
            await journal.append(intent(a_call(), at=clock.now()))
            clock.advance(10)
            with pytest.raises(UnavailableError):
                await work.catch_up()
        await work.lag.measure()
        assert shown() == (3, 30)
        index.fail_before = frozenset()
        await work.catch_up()
        await work.lag.measure()
        assert shown() == (0, 0)
    await index.close()
