"""Reading journals plainly: what is given is what was written, in order, each record once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.audit.journal.archive import Archive
from proxy.audit.journal.records import GENESIS, VERSION, Header, frame, line

WRITER = "0011aabb-main"


def segment(
    directory: Path,
    number: int,
    first: int,
    count: int,
    *,
    epoch: int = 1,
    text: str = "x",
    body: Callable[[int], bytes] | None = None,
) -> Path:
    """A segment of one batch, its records saying `text` and their sequence, or what `body` says."""
    directory.mkdir(parents=True, exist_ok=True)
    made = body or (lambda seq: b'"kind":"Event","auditID":"%b-%d"' % (text.encode(), seq))
    bodies = [made(first + i) for i in range(count)]
    header = Header(VERSION, WRITER, epoch, number, first, GENESIS, "2027-01-15T08:00:00.000000Z")
    path = directory / f"{epoch:06}-{number:06}.jsonl"
    path.write_bytes(line(header) + frame(bodies, b"0" * 32 * count, first, GENESIS).data + b"\0\0")
    return path


def told(archive: Archive, first: int = 1) -> list[int]:
    found = list(archive.lines(WRITER, first))
    assert all(b'"seq":%d,' % seq in text for seq, text in found)
    return [seq for seq, _ in found]


def test_segments_follow_each_other(tmp_path: Path) -> None:
    segment(tmp_path / "main", 1, 1, 3)
    segment(tmp_path / "main", 2, 4, 2)
    segment(tmp_path / "main", 1, 6, 1, epoch=2)
    archive = Archive([tmp_path])
    assert archive.writers == [WRITER]
    assert told(archive) == [1, 2, 3, 4, 5, 6]
    assert told(archive, 4) == [4, 5, 6]
    assert told(archive, 7) == []
    assert list(archive.lines("another")) == []


def test_what_was_written_again_is_told_once_and_from_the_later_segment(tmp_path: Path) -> None:
    segment(tmp_path, 1, 1, 5, text="first")
    segment(tmp_path, 2, 4, 3, text="again")
    texts = [text for _, text in Archive([tmp_path]).lines(WRITER)]
    assert told(Archive([tmp_path])) == [1, 2, 3, 4, 5, 6]
    assert [b"again" in text for text in texts] == [False] * 3 + [True] * 3


def test_copies_count_once_and_the_longest_wins(tmp_path: Path) -> None:
    original = segment(tmp_path / "volume" / "main", 1, 1, 4)
    copy = tmp_path / "tape" / "a" / original.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(original.read_bytes()[:200])
    assert told(Archive([tmp_path / "tape", tmp_path / "volume"])) == [1, 2, 3, 4]
    shutil.copy(original, copy)
    assert told(Archive([tmp_path])) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda data: data.replace(b"x-4", b"y-4"), [1, 2, 3]),
        (lambda data: data[:-40], [1, 2, 3]),
        (lambda data: b"not a header\n" + data, [1, 2, 3]),
        (lambda data: b"", [1, 2, 3]),
    ],
    ids=["altered", "torn", "header", "empty"],
)
def test_what_is_damaged_is_missing(
    tmp_path: Path, damage: Callable[[bytes], bytes], left: list[int]
) -> None:
    segment(tmp_path, 1, 1, 3)
    broken = segment(tmp_path, 2, 4, 3)
    broken.write_bytes(damage(broken.read_bytes()))
    assert told(Archive([tmp_path])) == left
