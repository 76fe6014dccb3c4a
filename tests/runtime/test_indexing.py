"""Waiting until the index is level with the journals."""

import asyncio

import pytest

from proxy.audit.sqlite import SqliteIndex
from proxy.clock import ManualClock
from proxy.metrics import Metrics
from proxy.runtime.indexing import SILENCE, AwaitedIndexer
from proxy.tasks import cancel, spawn


@pytest.fixture
async def indexer(tmp_path):
    index = await SqliteIndex.open(tmp_path / "index.db")
    clock = ManualClock()
    yield AwaitedIndexer(tmp_path / "journal", index, clock=clock, metrics=Metrics()), clock
    await index.close()


async def test_it_waits_for_a_pass_that_began_after_it_asked(indexer):
    found, _ = indexer
    task = spawn(found.run(), name="indexer")
    assert await asyncio.gather(*(found.settled(5.0) for _ in range(3))) == [True] * 3
    await cancel(task)


async def test_it_gives_up_in_time(indexer):
    found, _ = indexer
    assert await found.settled(0.01) is False


async def test_silence_is_a_failure(indexer):
    found, clock = indexer
    await found.catch_up()
    assert found.failure() == ""
    clock.advance(SILENCE + 1)
    assert found.failure() == "no pass has ended for 11 s"
    await found.catch_up()
    assert found.failure() == ""
