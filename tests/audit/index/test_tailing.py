"""The tail: what may be handed on, and how a new segment is noticed."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from proxy.audit.index.tailing import JournalTail
from proxy.audit.journal.records import GENESIS, Batch, frame
from proxy.audit.journal.segments import Segments
from proxy.clock import ManualClock
from tests.audit.journals import FaultyStorage, note, writing

WRITER = "ab12cd34-0"
EIO = OSError(5, os.strerror(5))


class Written:
    """A journal written by hand, and the tail that follows it."""

    def __init__(self, directory: Path, segment_bytes: int = 4096) -> None:
        self.directory = directory
        self.storage = FaultyStorage()
        self.segments = Segments(
            self.storage,
            directory,
            writer=WRITER,
            epoch=1,
            segment_bytes=segment_bytes,
            clock=ManualClock(),
        )
        self.acknowledged = 0
        self._seq, self._prev = 0, GENESIS

    def framed(self, size: int = 100) -> Batch:
        batch = frame([note("x" * size)], b"00" * 16, self._seq + 1, self._prev)
        self._seq, self._prev = batch.last, batch.sha256
        return batch

    def commit(self, batch: Batch | None = None) -> None:
        batch = batch or self.framed()
        self.segments.commit(batch)
        self.acknowledged = batch.last


def handed_on(tail: JournalTail) -> list[int]:
    found: list[int] = []
    while (step := tail.step()) is not None:
        found += [row.seq for row in step.rows]
        tail.accept(step)
    return found


@pytest.fixture
def journal(tmp_path: Path) -> Written:
    return Written(tmp_path)


@pytest.mark.parametrize("failing", [["sync 1", "create"], ["sync"], ["sync 1", "rename"]])
def test_what_the_writer_has_not_acknowledged_is_held_back(
    journal: Written, failing: list[str]
) -> None:
    told = JournalTail(journal.directory, sync=True, durable=lambda: journal.acknowledged)
    readable = JournalTail(journal.directory)
    for _ in range(2):
        journal.commit()
    assert handed_on(told) == handed_on(readable) == [1, 2]
    batch = journal.framed()
    journal.storage.fail = dict.fromkeys(failing, EIO)
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            journal.segments.commit(batch)
        assert handed_on(told) == []
    assert handed_on(readable) == [3]
    journal.storage.fail.clear()
    journal.commit(batch)
    journal.commit()
    assert set(handed_on(told)) == {3, 4}


def test_nothing_is_passed_over_at_the_end_of_a_segment(journal: Written) -> None:
    told = JournalTail(journal.directory, durable=lambda: journal.acknowledged)
    found = []
    for _ in range(60):
        batch = journal.framed(500)
        journal.segments.commit(batch)
        found += handed_on(told)  # between the thread's sync and the loop's word of it
        journal.acknowledged = batch.last
    assert found + handed_on(told) == list(range(1, 61))
    assert len(list(journal.directory.iterdir())) > 5


def test_a_segment_of_the_same_tick_as_the_last_look_is_seen(journal: Written) -> None:
    """File times move in ticks of milliseconds on most kernels."""
    tail = JournalTail(journal.directory)
    journal.commit()
    assert handed_on(tail) == [1]
    seen = journal.directory.stat()
    journal.commit(journal.framed(5000))
    os.utime(journal.directory, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert handed_on(tail) == [2]


async def test_a_writer_says_what_is_durable(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    said = []
    async with writing(tmp_path, disk, clock) as journal:
        directory = tmp_path / "journal" / "0"
        tail = JournalTail(directory, durable=lambda: journal.durable)
        for _ in range(3):
            assert handed_on(tail)[-1] == journal.durable
            said.append(await journal.append(note("a")))
            assert journal.durable == said[-1]
    assert all(after == before + 1 for before, after in pairwise(said))
