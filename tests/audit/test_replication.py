"""`replicated`: resolved when durable here and committed there, refused in time otherwise."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.audit import replication
from proxy.audit.gate import Gate, Level
from proxy.audit.index.shipping import Shipper
from proxy.audit.journal.instance import writer_id
from proxy.audit.port import JournalUnavailableError
from proxy.audit.replication import ReplicatedJournal
from proxy.clock import Clock, SystemClock
from proxy.metrics import Metrics
from proxy.tasks import cancel, spawn
from tests.audit.journals import FaultyStorage, a_call, intent, outcome, settings, writing
from tests.audit.shared_index import MemoryIndex


class World:
    """A journal with its shipper and a database that can be away."""

    def __init__(self, journal: ReplicatedJournal, index: MemoryIndex, gate: Gate) -> None:
        self.journal = journal
        self.index = index
        self.gate = gate

    @property
    def committed(self) -> int:
        return max(self.index.rows[self.journal._writer], default=0)


@asynccontextmanager
async def replicated(
    tmp_path: Path, disk: FaultyStorage, deadline: float = 5.0, clock: Clock | None = None
) -> AsyncIterator[World]:
    clock = clock or SystemClock()
    index, metrics = MemoryIndex(), Metrics()
    async with writing(tmp_path, disk, clock, deadline=deadline) as writer:
        gate = Gate(clock=clock, metrics=metrics)
        journal = ReplicatedJournal(
            writer, writer_id(tmp_path, "0"), gate, settings(deadline=deadline), clock=clock
        )
        shipper = Shipper(tmp_path / "journal", index, clock=clock, metrics=metrics)
        writer.on_durable(shipper.wake)
        shipper.on_indexed(journal.committed)
        shipper.on_change(journal.database)
        running = spawn(shipper.run(), name="indexer")
        try:
            yield World(journal, index, gate)
        finally:
            index.answering.set()
            await cancel(running)
            journal.close()
            gate.close()


async def test_a_record_counts_when_the_database_has_it(
    tmp_path: Path, disk: FaultyStorage
) -> None:
    async with replicated(tmp_path, disk) as world:
        for number in range(20):
            futures = [world.journal.append(intent(a_call())) for _ in range(number + 1)]
            for future in futures:
                seq = await future
                assert seq <= world.committed
        world.index.answering.clear()
        future = world.journal.append(intent(a_call()))
        done, _ = await asyncio.wait({future}, timeout=0.1)
        assert not done
        world.index.answering.set()
        assert await future == world.committed


async def test_who_waits_longer_than_the_deadline_is_refused_and_the_record_arrives(
    tmp_path: Path, disk: FaultyStorage
) -> None:
    async with replicated(tmp_path, disk, deadline=0.5) as world:
        await world.journal.append(intent(a_call()))
        world.index.answering.clear()
        late = world.journal.append(intent(a_call()))
        with pytest.raises(
            JournalUnavailableError, match=re.escape("has not confirmed a record for 0.5 s")
        ):
            async with asyncio.timeout(5):
                await late
        assert world.gate.level is Level.CLOSED
        with pytest.raises(JournalUnavailableError, match="the database"):
            _ = world.journal.append(intent(a_call()))
        world.journal.post(outcome(a_call()))
        world.index.answering.set()
        async with asyncio.timeout(5):
            while world.gate.failure:
                await asyncio.sleep(0.01)
        assert await world.journal.append(intent(a_call())) == 5
        assert sorted(world.index.rows[world.journal._writer]) == [1, 2, 3, 4, 5]


async def test_an_outage_closes_the_gate_at_once_and_heals(
    tmp_path: Path, disk: FaultyStorage
) -> None:
    async with replicated(tmp_path, disk) as world:
        await world.journal.append(intent(a_call()))
        world.index.down = "connection refused"
        loop = asyncio.get_running_loop()
        waiting = world.journal.append(intent(a_call()))
        while not world.journal.failure:
            await asyncio.sleep(0)
        assert world.journal.failure == world.gate.failure == "connection refused"
        assert not waiting.done(), "what comes back within the deadline was only slow"
        world.index.down = ""
        back = loop.time()
        await waiting
        while world.journal.failure:
            await asyncio.sleep(0)
        assert loop.time() - back < 1.0


async def test_a_commit_whose_answer_was_lost_counts(tmp_path: Path, disk: FaultyStorage) -> None:
    async with replicated(tmp_path, disk) as world:
        world.index.lose_answer = 1
        assert await world.journal.append(intent(a_call())) == 2
        assert world.gate.level is Level.OK


async def test_callers_that_leave_take_nothing_back(tmp_path: Path, disk: FaultyStorage) -> None:
    async with replicated(tmp_path, disk) as world:
        world.index.answering.clear()
        gone = [world.journal.append(intent(a_call())) for _ in range(5)]
        await asyncio.sleep(0.05)
        for future in gone[1:]:
            future.cancel()
        stays = world.journal.append(intent(a_call()))
        world.index.answering.set()
        assert await stays == 7
        assert gone[0].result() == 2
        assert world.committed == 7


async def test_no_more_callers_wait_than_may(
    tmp_path: Path, disk: FaultyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replicated(tmp_path, disk) as world:
        monkeypatch.setattr(world.journal, "_most", 10)
        world.index.answering.clear()
        waiting = []
        for _ in range(10):
            waiting.append(world.journal.append(intent(a_call())))
            await asyncio.sleep(0.01)
        with pytest.raises(JournalUnavailableError, match="10 records wait for the database"):
            _ = world.journal.append(intent(a_call()))
        world.index.answering.set()
        await asyncio.gather(*waiting)


async def test_a_refusal_of_the_disk_is_a_refusal(tmp_path: Path, disk: FaultyStorage) -> None:
    async with replicated(tmp_path, disk) as world:
        disk.fail["sync"] = disk.fail["create"] = OSError(28, "No space left on device")
        with pytest.raises(JournalUnavailableError, match="No space left"):
            await world.journal.append(intent(a_call()))
        assert world.gate.level is Level.OK, "the database is not to blame"
        assert "No space left" in world.journal.failure


async def test_a_busy_loop_is_no_slow_database(tmp_path: Path, disk: FaultyStorage) -> None:
    async with replicated(tmp_path, disk, deadline=0.2) as world:
        world.index.answering.clear()
        future = world.journal.append(intent(a_call()))
        await asyncio.sleep(0.05)
        end = asyncio.get_running_loop().time() + 0.3
        while asyncio.get_running_loop().time() < end:
            pass
        await asyncio.sleep(replication._TICK)
        assert not future.done()
        world.index.answering.set()
        assert await future == 2


async def test_closing_refuses_who_waits(tmp_path: Path, disk: FaultyStorage) -> None:
    async with replicated(tmp_path, disk) as world:
        world.index.answering.clear()
        future = world.journal.append(intent(a_call()))
        while not world.journal._held:
            await asyncio.sleep(0.001)
        world.journal.close()
        with pytest.raises(JournalUnavailableError, match="closed"):
            await future
