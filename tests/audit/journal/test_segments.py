"""Segments: every operation fails once, with every error, and no batch is lost, doubled or lied about."""

import errno
import os
from pathlib import Path

import pytest

from proxy.audit.journal.records import GENESIS, Batch, Seal, frame
from proxy.audit.journal.recovery import recover
from proxy.audit.journal.reserve import Reserve
from proxy.audit.journal.segments import Finished, MisplacedFileError, Segments
from proxy.audit.journal.storage import FileStorage, SegmentFile
from proxy.clock import ManualClock
from tests.audit.journals import FaultyStorage, SmallDisk, note
from tests.audit.reading import dense, lines, records

WRITER = "ab12cd34-0"
ERRORS = [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS]


class Disk:
    """Segments on a disk that fails, and the batches they are given."""

    def __init__(self, data_dir: Path, storage: FaultyStorage, reserve: int = 0) -> None:
        self.data_dir = data_dir
        self.directory = data_dir / "journal" / "0"
        self.directory.mkdir(parents=True)
        self.storage = storage
        self.finished: list[Finished] = []
        self.reserve = Reserve(storage, self.directory, reserve)
        self.reserve.make()
        self.files = Segments(
            storage,
            self.directory,
            writer=WRITER,
            epoch=1,
            segment_bytes=4096,
            clock=ManualClock(),
            reserve=self.reserve,
            on_finished=self.finished.append,
        )
        self._last: Batch | None = None

    def batch(self, size: int = 100) -> Batch:
        first = self._last.last + 1 if self._last else 1
        prev = self._last.sha256 if self._last else GENESIS
        self._last = frame([note("x" * size)], os.urandom(16).hex().encode(), first, prev)
        return self._last

    def sequences(self) -> list[int]:
        return [record["seq"] for record in records(self.data_dir)]


@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("failing", "survived"),
    [
        (["write 1"], True),
        (["sync 1"], True),
        (["sync 1", "create"], False),
        (["sync 1", "rename"], False),
        (["sync 1", "open"], False),
        (["write"], False),
        (["sync"], False),
    ],
    ids=lambda given: " and ".join(given) if isinstance(given, list) else "",
)
def test_a_fault_is_survived_or_told_and_then_healed(
    tmp_path: Path, code: int, failing: list[str], survived: bool
) -> None:
    storage = FaultyStorage()
    disk = Disk(tmp_path, storage)
    for _ in range(2):
        disk.files.commit(disk.batch())
    error = OSError(code, os.strerror(code))
    storage.fail = dict.fromkeys(failing, error)
    batch = disk.batch()
    if survived:
        disk.files.commit(batch)
        assert disk.files.trouble == str(error)
    else:
        for _ in range(3):
            with pytest.raises(OSError, match=os.strerror(code)):
                disk.files.commit(batch)
        assert disk.sequences() in ([1, 2], [1, 2, 3])  # a copy may stand in what failed
        storage.fail.clear()
        disk.files.commit(batch)
    assert disk.sequences() == [1, 2, 3]
    disk.files.commit(disk.batch())
    failed_once = 1 if {"sync", "sync 1"} & set(failing) else 0
    assert storage.log.count(("sync", 1)) == 3 + failed_once, "synced again after a failed sync"
    disk.files.close(Seal(4, "", ""))
    assert disk.sequences() == [1, 2, 3, 4]
    assert recover(FileStorage(), disk.directory, WRITER).next_seq == 5


def test_full_segments_are_told_with_their_end(tmp_path: Path) -> None:
    disk = Disk(tmp_path, FaultyStorage())
    for _ in range(20):
        disk.files.commit(disk.batch(400))
    assert len(disk.finished) > 2
    for told in disk.finished:
        path = disk.directory / str(told.name)
        assert path.stat().st_size == told.end
        trailer = lines(path)[-1]
        assert (trailer["last"], trailer["sha256"]) == (told.seq, told.sha256)
    assert dense(records(tmp_path))


def test_a_full_disk_goes_to_the_reserve_and_back(tmp_path: Path) -> None:
    storage = SmallDisk(4096 + 20_000)
    disk = Disk(tmp_path, storage, reserve=20_000)
    while not disk.files.in_reserve:
        disk.files.commit(disk.batch(400))
    room = disk.files.reserve_room
    assert 18_000 < room < 20_000
    disk.files.commit(disk.batch(400))
    assert disk.files.reserve_room < room
    with pytest.raises(OSError, match="No space left"):
        disk.files.prepare()
    names = sorted(path.name for path in disk.directory.iterdir())
    assert names == ["000001-000001.jsonl", "000001-000002.jsonl"]
    storage.room *= 2
    disk.files.prepare()
    before = disk.files.in_reserve
    disk.files.commit(disk.batch(400))
    assert (before, disk.files.in_reserve) == (True, False)
    assert disk.files.reserve_room == 0
    assert (disk.directory / names[1]).stat().st_size < 2000, "what it did not need is free again"
    assert dense(records(tmp_path))


def test_a_batch_that_is_too_large_for_the_reserve_is_refused(tmp_path: Path) -> None:
    disk = Disk(tmp_path, SmallDisk(4096 + 2000), reserve=2000)
    disk.files.commit(disk.batch())
    with pytest.raises(OSError, match="No space left"):
        disk.files.commit(disk.batch(5000))
    assert not disk.files.in_reserve
    assert disk.reserve.complete


def test_a_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    disk = Disk(tmp_path, FaultyStorage())
    disk.files.commit(disk.batch())
    other = disk.directory / "000001-000002.jsonl"
    other.write_bytes(b"somebody else's")
    batch = disk.batch(5000)
    with pytest.raises(FileExistsError):
        disk.files.commit(batch)
    disk.files.commit(batch)
    assert other.read_bytes() == b"somebody else's"
    assert lines(disk.directory / "000001-000003.jsonl")[1]["seq"] == 2


def test_a_new_segment_that_is_replaced_at_once_is_nobodys(tmp_path: Path) -> None:
    class Replacing(FaultyStorage):
        def open(self, path: Path) -> SegmentFile:
            file = super().open(path)
            path.unlink()
            path.write_bytes(b"\0" * 8192)
            return file

    disk = Disk(tmp_path, Replacing())
    with pytest.raises(MisplacedFileError, match="was replaced"):
        disk.files.commit(disk.batch())
    assert (disk.directory / "000001-000001.jsonl").read_bytes() == b"\0" * 8192
