"""The watchdog: in real time, how late a call can be refused at most."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import JournalUnavailableError
from proxy.clock import ManualClock, SystemClock
from tests.audit.journals import FaultyStorage, note, until, writing

DEADLINE = 0.3
ALLOWED = 0.05


async def test_no_call_waits_longer_than_its_deadline_and_a_bit(
    tmp_path: Path, disk: FaultyStorage
) -> None:
    waits: list[float] = []

    async def call(journal: JournalWriter) -> None:
        started = time.perf_counter()
        with pytest.raises(JournalUnavailableError, match="not confirmed a record"):
            await journal.append(note("x"))
        waits.append(time.perf_counter() - started)

    async with writing(tmp_path, disk, SystemClock(), deadline=DEADLINE) as journal:
        disk.hold.clear()
        calls = []
        for _ in range(20):  # they arrive while the disk hangs already
            calls.append(asyncio.ensure_future(call(journal)))
            await asyncio.sleep(0.01)
        await asyncio.gather(*calls)
        assert len(waits) == 20
        assert max(waits) <= DEADLINE + ALLOWED
        started = time.perf_counter()
        with pytest.raises(JournalUnavailableError):
            _ = journal.append(note("refused at once"))
        assert time.perf_counter() - started < ALLOWED
        disk.hold.set()
        await until(lambda: not journal.failure, 1)
        await journal.append(note("served"))


async def test_ten_minutes_without_an_answer_are_bounded(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    bounds = {"queue_records": 500, "queue_bytes": 1024 * 1024}
    async with writing(tmp_path, disk, clock, **bounds) as journal:
        disk.hold.clear()
        hit = journal.append(note("hit"))
        await until(disk.waiting.is_set)
        taken = 0
        for _ in range(60):  # ten seconds each
            clock.advance(10)
            await asyncio.sleep(0.021)
            for _ in range(50):
                with contextlib.suppress(JournalUnavailableError):
                    journal.post(note("o" * 1000))
                    taken += 1
        assert isinstance(hit.exception(), JournalUnavailableError)
        assert taken == 500
        assert journal._waiting.size <= 1024 * 1024
        assert len(journal._watchdog._marks) < 100
        disk.hold.set()
        await until(lambda: not journal.failure, 2)
