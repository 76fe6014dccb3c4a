"""Recovery: what a crash can leave is repaired, what it cannot leave is refused."""

from pathlib import Path

import pytest

from proxy.audit.event import Call, Stage, describe, stage
from proxy.audit.journal.records import (
    GENESIS,
    CorruptJournalError,
    frame,
)
from proxy.audit.journal.recovery import Recovered, first_records, recover
from proxy.audit.journal.segments import Segments
from proxy.audit.journal.storage import FileStorage
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import ManualClock
from tests.audit.journals import NOW, a_call, intent, outcome, settings
from tests.audit.reading import dense, records

WRITER = "ab12cd34-0"
STORAGE = FileStorage()


class History:
    """Writes a journal by hand: epochs, batches, and a crash wherever the test stops."""

    def __init__(self, directory: Path, segment_bytes: int = 64 * 1024) -> None:
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._seq, self._prev = 1, GENESIS
        self._epoch = 0
        self._files: Segments | None = None
        self.ends: list[int] = []

    def epoch(self) -> "History":
        if self._files is not None:
            self._files.abandon()
        self._epoch += 1
        self._files = Segments(
            STORAGE,
            self.directory,
            writer=WRITER,
            epoch=self._epoch,
            segment_bytes=self._segment_bytes,
            clock=ManualClock(NOW),
        )
        return self

    def batch(self, *bodies: bytes) -> "History":
        batch = frame(bodies, b"00" * 16 * len(bodies), self._seq, self._prev)
        self._seq, self._prev = batch.last + 1, batch.sha256
        assert self._files is not None
        self._files.commit(batch)
        self.ends.append(self._files._end)
        return self

    def path(self, number: int = 1) -> Path:
        return self.directory / f"{self._epoch:06}-{number:06}.jsonl"

    def recover(self) -> Recovered:
        return recover(STORAGE, self.directory, WRITER)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path).epoch()


CALLS = [a_call() for _ in range(4)]


def open_ids(recovered: Recovered) -> list[str]:
    return sorted(audit_id.decode() for audit_id in recovered.open_calls)


def test_nothing_is_a_clean_start(tmp_path: Path) -> None:
    assert recover(STORAGE, tmp_path / "nowhere", WRITER) == Recovered()


def test_open_calls_are_found(history: History) -> None:
    a, b, c, d = CALLS
    history.batch(intent(a), intent(b)).batch(outcome(a), intent(c))
    history.batch(stage(describe(c), Stage.RESPONSE_STARTED, NOW), intent(d))
    history.batch(stage(describe(d), Stage.PANIC, NOW))
    found = history.recover()
    assert open_ids(found) == sorted([b.audit_id, c.audit_id])
    assert (found.epoch, found.next_seq, found.clean, found.cut_bytes) == (2, 8, False, 0)


def test_the_tail_is_cut_at_every_byte(history: History) -> None:
    a, b, c, _ = CALLS
    history.batch(intent(a)).batch(intent(b)).batch(intent(c), outcome(a))
    path = history.path()
    data = path.read_bytes()
    first, second, third = history.ends
    for cut in range(first, third + 1):
        for rest in (b"", b"\0" * 64):
            path.write_bytes(data[:cut] + rest)
            found = history.recover()
            whole = 1 + (cut >= second) + (cut >= third)
            assert found.next_seq == {1: 2, 2: 3, 3: 5}[whole]
            assert found.cut_bytes == cut - [first, second, third][whole - 1]
            assert path.read_bytes() == data[: [first, second, third][whole - 1]]
            assert (a.audit_id in open_ids(found)) == (whole < 3)


def test_damage_before_something_whole_is_refused_at_every_byte(history: History) -> None:
    a, b, c, _ = CALLS
    history.batch(intent(a)).batch(intent(b)).batch(intent(c))
    path = history.path()
    data = path.read_bytes()
    header = data.index(b"\n")
    unharmed = history.recover()
    for at in range(history.ends[1]):
        spoilt = data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]
        path.write_bytes(spoilt)
        try:
            found = history.recover()
        except CorruptJournalError as error:
            told = error.message
        else:  # a header's time, say: nothing that recovery goes by
            assert at < header
            assert found.next_seq == unharmed.next_seq
            continue
        assert str(path) in told
        assert path.read_bytes() == spoilt, "a refused journal was changed"


def test_a_hole_of_zeros_before_something_whole_is_refused(history: History) -> None:
    history.batch(intent(CALLS[0])).batch(intent(CALLS[1])).batch(intent(CALLS[2]))
    path = history.path()
    data = path.read_bytes()
    first, second, _ = history.ends
    path.write_bytes(data[:first] + b"\0" * (second - first) + data[second:])
    with pytest.raises(CorruptJournalError, match="damaged after record 1"):
        history.recover()


def test_a_batch_that_was_rewritten_counts_once(history: History) -> None:
    a, b, _, _ = CALLS
    history.batch(intent(a)).batch(outcome(a), intent(b))
    first = history.path(1)
    data = first.read_bytes()
    start = data.index(b'{"seq":2')
    again = data[: data.index(b"\n") + 1].replace(b'"segment":1', b'"segment":2')
    again = again.replace(b'"firstSeq":1', b'"firstSeq":2') + data[start : history.ends[1]]
    history.path(2).write_bytes(again)
    for torn in (history.ends[1], history.ends[1] - 10, start + 3):
        first.write_bytes(data[:torn] + b"\0" * 32)
        found = history.recover()
        assert (found.next_seq, found.missing) == (4, [])
        assert open_ids(found) == [b.audit_id]


def test_a_segment_that_is_gone_is_reported(tmp_path: Path) -> None:
    history = History(tmp_path, segment_bytes=2048).epoch()
    for _ in range(12):
        history.batch(intent(a_call()))
    assert history.path(3).exists()
    gone = history.path(2).read_bytes().split(b"\0")[0].count(b'{"seq"')
    history.path(2).unlink()
    found = history.recover()
    assert found.next_seq == 13
    ((first, last),) = found.missing
    assert last - first + 1 == gone
    detail = first_records(found, NOW)[-1]
    assert b'"records-missing"' in detail
    assert f'"{first}-{last}"'.encode() in detail


@pytest.mark.parametrize(
    "left",
    [b"", b"\0" * 100, b'{"kind":"Journ', b'{"kind":"JournalHeader"' + b"\0" * 50],
    ids=["empty", "zeros", "half a header", "half a header, preallocated"],
)
def test_a_segment_that_was_only_begun(history: History, left: bytes) -> None:
    history.batch(intent(CALLS[0]))
    history.path(2).write_bytes(left)
    found = history.recover()
    assert (found.epoch, found.next_seq) == (2, 2)
    assert open_ids(found) == [CALLS[0].audit_id]


def test_epochs_that_never_wrote_are_looked_past(history: History) -> None:
    history.batch(intent(CALLS[0]))
    for _ in range(3):
        history.epoch()
        history.path().write_bytes(b"\0" * 64)
    found = history.recover()
    assert (found.epoch, found.next_seq) == (5, 2)
    assert open_ids(found) == [CALLS[0].audit_id]


def test_the_first_batch_of_an_epoch_settles_what_was_before(history: History) -> None:
    history.batch(intent(CALLS[0]))
    history.epoch().batch(outcome(CALLS[0])).batch(intent(CALLS[1]))
    assert open_ids(history.recover()) == [CALLS[1].audit_id]


def test_segments_larger_than_what_is_read_at_a_time(tmp_path: Path) -> None:
    history = History(tmp_path, segment_bytes=24 * 1024 * 1024).epoch()
    large = a_call(user_agent="x" * 400_000)
    left: list[str] = []
    for sizes in (3, 40, 1, 1, 25, 30):  # two batches are larger than a piece, most are not
        calls = [a_call() for _ in range(sizes)]
        history.batch(*map(intent, calls))
        history.batch(*(outcome(large) for _ in range(sizes)), *map(outcome, calls[1:]))
        left.append(calls[0].audit_id)
    assert history.path(2).exists()
    found = history.recover()
    assert open_ids(found) == sorted(left)
    assert (found.next_seq, found.missing) == (history._seq, [])


def test_another_writers_journal_is_refused(history: History) -> None:
    history.batch(intent(CALLS[0]))
    with pytest.raises(CorruptJournalError, match="belongs to writer ab12cd34-0, not other-0"):
        recover(STORAGE, history.directory, "other-0")


async def test_a_sealed_journal_is_not_read_again(tmp_path: Path, clock: ManualClock) -> None:
    journal = await JournalWriter.open(tmp_path, "0", settings(), clock=clock)
    for _ in range(200):
        await journal.append(intent(a_call()))
    await journal.close()
    directory = tmp_path / "journal" / "0"
    read: list[str] = []

    class Watched(FileStorage):
        def read(self, path: Path, offset: int = 0, size: int = -1) -> bytes:
            read.append(path.name)
            return super().read(path, offset, size)

    writer = (tmp_path / "instance").read_text().strip() + "-0"
    found = recover(Watched(), directory, writer)
    assert found.clean
    assert found.next_seq == 203
    assert found.open_calls == {}
    assert len(read) == 1
    assert len(list(directory.glob("*.jsonl"))) > 2


async def test_crash_after_crash_nothing_is_lost_or_told_twice(
    tmp_path: Path, clock: ManualClock
) -> None:
    calls: list[Call] = []
    for _ in range(4):
        journal = await JournalWriter.open(tmp_path, "0", settings(), clock=clock)
        for _ in range(3):
            calls.append(a_call())
            await journal.append(intent(calls[-1]))
        await journal.append(outcome(calls[-1]))
        journal._stop()
        journal._unlock()
    await (await JournalWriter.open(tmp_path, "0", settings(), clock=clock)).close()
    found = records(tmp_path)
    assert dense(found)
    for call in calls:
        stages = [r["stage"] for r in found if r.get("auditID") == call.audit_id]
        assert stages == ["RequestReceived", "ResponseComplete"]


def test_a_torn_batch_before_a_segment_that_was_only_begun(history: History) -> None:
    a, b, _, _ = CALLS
    history.batch(intent(a)).batch(outcome(a), intent(b))
    path = history.path()
    data = path.read_bytes()
    spoilt = data[: history.ends[0] + 99] + b"\0" * 20 + data[history.ends[0] + 119 :]
    head = data[: data.index(b"\n") + 1].replace(b'"firstSeq":1', b'"firstSeq":2')
    for begun in (b"\0" * 64, head + b"\0" * 64):
        path.write_bytes(spoilt)
        history.path(2).write_bytes(begun)
        found = history.recover()
        assert (found.next_seq, found.missing) == (2, [])
        assert open_ids(found) == [a.audit_id]


def test_a_segment_that_was_only_begun_says_what_was_before_it(history: History) -> None:
    history.batch(intent(CALLS[0]), intent(CALLS[1]))
    first = history.path()
    history.epoch().batch(outcome(CALLS[0]))
    begun = history.path()
    begun.write_bytes(begun.read_bytes().split(b"\n")[0] + b'\n{"seq":3,"sal')
    first.unlink()
    for cut in (13, 0):  # what it says is kept, for the start after a start that got no further
        found = history.recover()
        assert (found.next_seq, found.missing, found.cut_bytes) == (3, [(1, 2)], cut)


def test_damage_in_the_first_batch_of_the_last_segment_is_refused(history: History) -> None:
    history.batch(intent(CALLS[0])).batch(intent(CALLS[1]))
    path = history.path()
    path.write_bytes(path.read_bytes().replace(b'"verb":"get"', b'"verb":"put"', 1))
    with pytest.raises(CorruptJournalError, match="damaged after record 0; records up to 2 follow"):
        history.recover()
