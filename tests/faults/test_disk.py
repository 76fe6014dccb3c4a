"""The simulated disk forgets, tears and lies exactly as it says it may."""

import errno
from pathlib import Path
from random import Random

import pytest

from tests.faults.disk import EIO, ENOSPC, Disk, Fault
from tests.faults.inode import PAGE, SECTOR

DIRECTORY = Path("/d")
A, B = DIRECTORY / "a", DIRECTORY / "b"


def there(disk: Disk, path: Path = A) -> bytes | None:
    inode = disk.entries.get(str(path))
    return None if inode is None else inode.content()


def outcomes(disk: Disk, path: Path = A) -> set[bytes | None]:
    """What a power cut may make of a file."""
    states = disk.power_cut()
    return {there(states.state(digits), path) for digits in states.every()}


def durable(size: int = 2 * SECTOR, **given: bool) -> Disk:
    disk = Disk(**given)
    disk.create(A, size).sync()
    disk.sync_directory(DIRECTORY)
    return disk


def test_what_is_synced_stays() -> None:
    disk = durable()
    file = disk.open(A)
    file.write(b"x" * SECTOR, 0)
    file.sync()
    assert outcomes(disk) == {b"x" * SECTOR + bytes(SECTOR)}


def test_unsynced_sectors_are_old_or_new_each_for_itself() -> None:
    disk = durable()
    disk.open(A).write(b"x" * 2 * SECTOR, 0)
    x, old = b"x" * SECTOR, bytes(SECTOR)
    assert outcomes(disk) == {old + old, x + old, old + x, x + x}


def test_a_sector_may_hold_any_of_its_unsynced_contents() -> None:
    disk = durable(SECTOR)
    file = disk.open(A)
    for letter in (b"x", b"y"):
        file.write(letter * SECTOR, 0)
    assert outcomes(disk) == {bytes(SECTOR), b"x" * SECTOR, b"y" * SECTOR}


def test_a_write_may_be_cut_at_any_byte() -> None:
    disk = durable(SECTOR)
    disk.open(A).write(b"x" * SECTOR, 0)
    random = Random(1)
    states = disk.power_cut()
    cuts = {there(states.state([0, 1], random.randrange)) for _ in range(3000)}
    assert len(cuts) > SECTOR * 0.95
    assert all(cut == b"x" * cut.count(b"x") + bytes(cut.count(0)) for cut in cuts if cut)


def test_a_new_file_may_be_gone_empty_or_zero() -> None:
    disk = Disk()
    disk.create(A, SECTOR)
    assert outcomes(disk) == {None, b"", bytes(SECTOR)}


def test_a_synced_file_without_a_synced_directory_may_be_gone() -> None:
    disk = Disk()
    file = disk.create(A, SECTOR)
    file.write(b"x" * SECTOR, 0)
    file.sync()
    assert outcomes(disk) == {None, b"x" * SECTOR}


@pytest.mark.parametrize(
    ("ordered", "expected"),
    [(True, {(False, False), (True, False), (True, True)}),
     (False, {(False, False), (True, False), (False, True), (True, True)})],
)  # fmt: skip
def test_names_come_in_order_or_each_for_itself(
    ordered: bool, expected: set[tuple[bool, bool]]
) -> None:
    disk = Disk(ordered=ordered)
    for path in (A, B):
        disk.create(path, 0)
    states = disk.power_cut()
    found = [states.state(digits) for digits in states.every()]
    assert {
        (there(state, A) is not None, there(state, B) is not None) for state in found
    } == expected


def test_a_rename_is_whole_and_replaces_nothing() -> None:
    disk = durable()
    disk.rename(A, B)
    states = disk.power_cut()
    names = {tuple(states.state(digits).names(DIRECTORY)) for digits in states.every()}
    assert names == {("a",), ("b",)}
    disk.create(A, 0)
    with pytest.raises(FileExistsError):
        disk.rename(A, B)


def test_a_removal_may_be_undone() -> None:
    disk = durable()
    disk.remove(A)
    assert outcomes(disk) == {None, bytes(2 * SECTOR)}


def test_a_sync_after_a_failed_one_lies() -> None:
    disk = durable()
    file = disk.open(A)
    file.write(b"x" * SECTOR, 0)
    disk.fault = lambda kind, _: Fault(EIO) if kind == "sync" else None
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    disk.fault = None
    disk.open(A).sync()
    old, new = bytes(2 * SECTOR), b"x" * SECTOR + bytes(SECTOR)
    assert there(disk) == new
    assert outcomes(disk) == {old, new}
    assert outcomes(disk.kill()) == {old, new}, "the next process is lied to as well"
    forgetful = disk.kill()
    forgetful.forget(lambda _: 0)
    assert there(forgetful) == old


def test_a_page_that_is_written_again_is_synced_again() -> None:
    disk = durable(PAGE)
    file = disk.open(A)
    file.write(b"x" * SECTOR, 0)
    disk.fault = lambda kind, _: Fault(EIO) if kind == "sync" else None
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    disk.fault = None
    file.write(b"y", 3 * SECTOR)
    file.sync()
    assert len(outcomes(disk)) == 1


def test_a_smaller_size_need_not_be_synced_with_the_data() -> None:
    for lazy, sizes in ((False, {SECTOR}), (True, {SECTOR, 2 * SECTOR})):
        disk = durable(lazy_shrink=lazy)
        file = disk.open(A)
        file.truncate(SECTOR)
        file.sync()
        assert {len(data or b"") for data in outcomes(disk)} == sizes


def test_a_short_write_and_a_full_disk() -> None:
    disk = durable()
    disk.fault = lambda kind, _: Fault(ENOSPC, 0.5) if kind in ("write", "create") else None
    with pytest.raises(OSError) as refused:
        disk.open(A).write(b"x" * 100, 0)
    assert refused.value.errno == errno.ENOSPC
    assert (there(disk) or b"").count(b"x") == 50
    with pytest.raises(OSError, match="No space"):
        disk.create(B, 10)
    assert there(disk, B) is None
    assert outcomes(disk, B) == {None, b""}


def test_read_only_deleted_and_replaced() -> None:
    disk = durable()
    file = disk.open(A)
    assert file.misplaced(2 * SECTOR) == ""
    assert "truncated" in file.misplaced(3 * SECTOR)
    disk.read_only = True
    for refused in (file.sync, lambda: file.write(b"x", 0), lambda: disk.create(B, 1)):
        with pytest.raises(OSError, match="Read-only"):
            refused()
    disk.read_only = False
    disk.take_away(A, b"other")
    assert "replaced" in file.misplaced(0)
    disk.take_away(A)
    assert "deleted" in file.misplaced(0)
    assert file.read(0, 3) == bytes(3)


def test_another_process_writes_to_its_own_disk() -> None:
    disk = durable()
    for other in (disk.kill(), disk.power_cut().state([])):
        other.open(A).write(b"x", 0)
        assert there(other) != there(disk) == bytes(2 * SECTOR)
