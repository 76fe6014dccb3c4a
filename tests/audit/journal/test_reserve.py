"""The reserve: made whole or not at all, found again, and scraped together when there is none."""

import errno
from pathlib import Path

import pytest

from proxy.audit.journal.reserve import Reserve
from tests.audit.journals import FaultyStorage, SmallDisk

MIB = 1024 * 1024


def reserve(directory: Path, room: int, wanted: int = 8 * MIB) -> Reserve:
    made = Reserve(SmallDisk(room), directory, wanted)
    made.find()
    return made


def test_it_is_made_and_found_again(tmp_path: Path) -> None:
    kept = reserve(tmp_path, 8 * MIB)
    before = kept.complete
    kept.make()
    assert (before, kept.complete) == (False, True)
    assert kept.path.stat().st_size == 8 * MIB
    again = reserve(tmp_path, 8 * MIB)
    assert again.complete
    again.make()
    assert [path.name for path in tmp_path.iterdir()] == ["reserve"]


@pytest.mark.parametrize("later", [MIB, 4 * MIB, 8 * MIB, 16 * MIB])
def test_it_becomes_as_large_as_is_wanted_now(tmp_path: Path, later: int) -> None:
    reserve(tmp_path, 8 * MIB).make()
    # What is less needs no room beside what is there.
    kept = reserve(tmp_path, later + 8 * MIB if later > 8 * MIB else 0, wanted=later)
    assert kept.complete == (later == 8 * MIB)
    kept.make()
    assert kept.complete
    assert kept.size == kept.path.stat().st_size == later
    assert [path.name for path in tmp_path.iterdir()] == ["reserve"]


@pytest.mark.parametrize("what", ["create", "sync", "rename"])
def test_one_that_cannot_be_made_leaves_none(tmp_path: Path, what: str) -> None:
    disk = FaultyStorage()
    disk.fail[what] = OSError(errno.EIO, "Input/output error")
    kept = Reserve(disk, tmp_path, MIB)
    with pytest.raises(OSError, match="Input/output error"):
        kept.make()
    assert (kept.size, kept.path.exists()) == (0, False)
    disk.fail.clear()
    again = Reserve(disk, tmp_path, MIB)
    again.find()
    assert not list(tmp_path.iterdir())
    kept.make()
    assert kept.complete


@pytest.mark.parametrize(
    ("room", "least", "offered"),
    [
        (8 * MIB, 100, 4 * MIB),  # never all that is wanted: others may need space, too
        (3 * MIB, 100, 2 * MIB),
        (MIB, 100, MIB),
        (MIB - 1, 100, 0),
        (8 * MIB, 5 * MIB, 0),
    ],
)
def test_without_one_as_much_as_there_is_is_offered(
    tmp_path: Path, room: int, least: int, offered: int
) -> None:
    kept = reserve(tmp_path, room)
    assert kept.offer(least) == offered
    assert kept.size == offered


def test_one_that_is_there_is_offered_as_it_is(tmp_path: Path) -> None:
    reserve(tmp_path, 8 * MIB).make()
    kept = reserve(tmp_path, 0)
    assert kept.offer(100) == 8 * MIB
    kept.taken()
    assert not kept.complete


def test_none_is_wanted(tmp_path: Path) -> None:
    reserve(tmp_path, 8 * MIB).make()
    kept = reserve(tmp_path, 8 * MIB, wanted=0)
    before = kept.complete
    kept.make()
    assert (before, kept.complete) == (False, True)
    assert not list(tmp_path.iterdir())
    assert kept.offer(1) == 0
