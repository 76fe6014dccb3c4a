"""Bookmarks: recovery reads less because of them, and never finds anything else."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.audit.event import Call
from proxy.audit.journal.bookmark import Bookmark, Bookmarks, bookmarks, decode, encode, file_name
from proxy.audit.journal.records import GENESIS, SegmentName, frame
from proxy.audit.journal.recovery import Recovered, recover
from proxy.audit.journal.segments import Finished, Segments
from proxy.audit.journal.storage import FileStorage
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import ManualClock
from tests.audit.journals import NOW, FaultyStorage, a_call, crash, intent, outcome, settings, until

WRITER = "ab12cd34-0"
NAME = SegmentName(3, 14)
MARK = Bookmark(WRITER, NAME, 77, "ab" * 32, [b'{"seq":1,"auditID":"x"}', b'{"seq":9}'])


class Watched(FaultyStorage):
    """Notes which segments are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read_from: list[str] = []

    def read(self, path: Path, offset: int = 0, size: int = -1) -> bytes:
        if size != 4096:  # not a header
            self.read_from.append(path.name)
        return super().read(path, offset, size)


@pytest.mark.parametrize("lines", [[], MARK.lines])
def test_it_is_read_as_it_was_written(lines: list[bytes]) -> None:
    mark = MARK._replace(lines=lines)
    assert decode(encode(mark)) == mark
    assert bookmarks([file_name(NAME), "lock", "000003-000014.jsonl"]) == [NAME]


def test_a_damaged_one_is_none_at_every_byte() -> None:
    data = encode(MARK)
    for at in range(len(data)):
        assert decode(data[:at]) is None
        assert decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) is None


class Busy:
    """A writer whose calls come and go at random, with bookmarks made at once."""

    def __init__(self, directory: Path, seed: int, storage: FileStorage) -> None:
        self.chance = random.Random(seed)
        self.open: list[Call] = []
        self._seq, self._prev = 1, GENESIS
        self._marks = Bookmarks(storage, directory, WRITER)
        self._files = Segments(
            storage,
            directory,
            writer=WRITER,
            epoch=1,
            segment_bytes=8 * 1024,
            clock=ManualClock(NOW),
            on_finished=self._finished,
        )

    def _finished(self, segment: Finished) -> None:
        for _ in self._marks.make(segment):
            pass

    def batch(self) -> None:
        bodies = []
        for _ in range(self.chance.randint(1, 5)):
            if self.open and self.chance.random() < 0.48:
                call = self.open.pop(self.chance.randrange(len(self.open)))
                bodies.append(outcome(call))
            else:
                self.open.append(a_call(user_agent="x" * self.chance.randint(0, 300)))
                bodies.append(intent(self.open[-1]))
        batch = frame(bodies, b"00" * 16 * len(bodies), self._seq, self._prev)
        self._seq, self._prev = batch.last + 1, batch.sha256
        self._files.commit(batch)


def found(recovered: Recovered) -> tuple[object, ...]:
    return (
        sorted(recovered.open_calls.items()),
        recovered.next_seq,
        recovered.prev,
        recovered.missing,
    )


@pytest.mark.parametrize("seed", range(12))
def test_with_and_without_it_the_same_is_found(tmp_path: Path, seed: int) -> None:
    storage = Watched()
    busy = Busy(tmp_path, seed, storage)
    for number in range(80):
        if busy.chance.random() < 0.1:  # a segment that fails, and its batch goes to the next
            storage.fail[f"sync {storage._files}"] = OSError(5, "Input/output error")
        busy.batch()
        storage.fail.clear()
        assert number < 79 or len(list(tmp_path.glob("*.open"))) == 1
    names = sorted(path.name for path in tmp_path.glob("*.jsonl"))
    storage.read_from.clear()
    with_mark = recover(storage, tmp_path, WRITER)
    segments_read = {name for name in storage.read_from if name.endswith(".jsonl")}
    assert segments_read == {names[-1]}
    assert len(names) > 4
    assert sorted(with_mark.open_calls) == sorted(call.audit_id.encode() for call in busy.open)
    for path in tmp_path.glob("*.open"):
        path.unlink()
    assert found(recover(storage, tmp_path, WRITER)) == found(with_mark)


def _drop(data: bytes) -> bytes:
    return data[:-5]


def _spoil(data: bytes) -> bytes:
    return data.replace(b"kind", b"Kind", 1)


def _other_writer(data: bytes) -> bytes:
    mark = decode(data)
    assert mark is not None
    return encode(mark._replace(writer="other-0", lines=[]))


def _stale(data: bytes) -> bytes:
    mark = decode(data)
    assert mark is not None
    return encode(mark._replace(seq=mark.seq - 1, lines=[]))


def _another_history(data: bytes) -> bytes:
    mark = decode(data)
    assert mark is not None
    return encode(mark._replace(sha256="0" * 64, lines=[]))


@pytest.mark.parametrize("spoil", [_drop, _spoil, _other_writer, _stale, _another_history])
def test_one_that_does_not_fit_only_means_that_more_is_read(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    busy = Busy(tmp_path, 1, FileStorage())
    for _ in range(60):
        busy.batch()
    (path,) = tmp_path.glob("*.open")
    path.write_bytes(spoil(path.read_bytes()))
    storage = Watched()
    recovered = recover(storage, tmp_path, WRITER)
    assert sorted(recovered.open_calls) == sorted(call.audit_id.encode() for call in busy.open)
    assert "000001-000001.jsonl" in storage.read_from


def test_a_segment_that_is_gone_is_reported_all_the_same(tmp_path: Path) -> None:
    busy = Busy(tmp_path, 2, FileStorage())
    for _ in range(80):
        busy.batch()
    (tmp_path / "000001-000002.jsonl").unlink()
    recovered = recover(FileStorage(), tmp_path, WRITER)
    assert len(recovered.missing) == 1


class Pieces(FileStorage):
    """Notes how many bytes of a segment are read at a time."""

    def __init__(self) -> None:
        self.read_of: dict[str, list[int]] = {}

    def read(self, path: Path, offset: int = 0, size: int = -1) -> bytes:
        data = super().read(path, offset, size)
        if size != 4096:  # not a header
            self.read_of.setdefault(path.name, []).append(len(data))
        return data


async def test_who_is_behind_reads_more_at_a_time_until_it_is_not(tmp_path: Path) -> None:
    storage = Pieces()
    marks = Bookmarks(storage, tmp_path, WRITER)
    files = Segments(
        storage,
        tmp_path,
        writer=WRITER,
        epoch=1,
        segment_bytes=1024 * 1024,
        clock=ManualClock(NOW),
        on_finished=marks.finished,
    )
    seq, prev = 1, GENESIS
    for _ in range(9):  # each batch fills most of a segment
        bodies = [intent(a_call(user_agent="x" * 8192)) for _ in range(100)]
        batch = frame(bodies, b"00" * 16 * len(bodies), seq, prev)
        seq, prev = batch.last + 1, batch.sha256
        files.commit(batch)
    names = sorted(path.name for path in tmp_path.glob("*.jsonl"))
    marks.start()
    await until(lambda: (tmp_path / names[-2]).with_suffix(".open").exists())
    marks.stop()
    marks.join()
    assert [len(storage.read_of[name]) for name in names[:-1]] == [1, 1, 1, 1, 1, 1, 2, 4]
    assert max(storage.read_of[names[-2]]) <= 256 * 1024


async def test_a_writer_makes_them_and_its_successor_removes_them(
    tmp_path: Path, clock: ManualClock
) -> None:
    directory = tmp_path / "journal" / "0"
    journal = await JournalWriter.open(tmp_path, "0", settings(), clock=clock)
    left = a_call()
    await journal.append(intent(left))
    for _ in range(300):
        call = a_call()
        _ = journal.append(intent(call), urgent=False)
        await journal.append(outcome(call))
    newest = sorted(directory.glob("*.jsonl"))[-2].with_suffix(".open")
    await until(lambda: list(directory.glob("*.open")) == [newest])
    crash(journal)
    writer = journal._files.writer
    assert list(recover(FileStorage(), directory, writer).open_calls) == [left.audit_id.encode()]
    journal = await JournalWriter.open(tmp_path, "0", settings(), clock=clock)
    await until(lambda: not list(directory.glob("*.open")))
    await journal.close()
