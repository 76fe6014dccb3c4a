"""Segments that somebody takes away: noticed at once, calls refused, what they held is saved."""

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proxy.audit.index.tailing import JournalTail
from proxy.audit.journal.recovery import recover
from proxy.audit.journal.storage import FileStorage, SegmentFile
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import JournalUnavailableError
from proxy.clock import ManualClock
from tests.audit.journals import (
    FaultyStorage,
    SmallDisk,
    actions,
    crash,
    note,
    settings,
    until,
    writing,
)
from tests.audit.reading import lines, records

FIRST, SECOND, THIRD = "000001-000001.jsonl", "000001-000002.jsonl", "000001-000003.jsonl"


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))


def replace_by_zeros(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"\0" * 65536)


def replace_by_text(path: Path) -> None:
    path.unlink()
    path.write_text("hello\n" * 20_000)


def replace_by_an_older_copy(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: data.index(b'{"seq":3')] + b"\0" * 65536)


def cut_the_rest(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(len(path.read_bytes().rstrip(b"\0")))


def cut_the_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(10)


def cut_in_the_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.read_bytes().index(b'{"seq":4') + 30)


class Case(NamedTuple):
    """What somebody does, and what is there afterwards."""

    act: Callable[[Path], None]
    why: str
    holds: str = FIRST
    """The file that then holds the records before."""
    missing: tuple[str, ...] = ()


CASES = [
    Case(delete, "was deleted or moved"),
    Case(move, "was deleted or moved"),
    Case(replace_by_zeros, "was replaced by another file", SECOND),
    Case(replace_by_text, "was replaced by another file", SECOND),
    Case(replace_by_an_older_copy, "was replaced by another file", SECOND),
    Case(cut_the_rest, "was truncated"),
    Case(cut_the_header, "was truncated", missing=("1-4",)),
    Case(cut_in_the_middle, "was truncated", missing=("4-4",)),
]


def rows(directory: Path) -> list[int]:
    """The sequences a reader that begins now is told, in order."""
    tail, told = JournalTail(directory), []
    while (step := tail.step()) is not None:
        assert step.rewind is None
        told += [row.seq for row in step.rows]
        tail.accept(step)
    return told


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.act.__name__)
async def test_taken_away(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, case: Case
) -> None:
    directory = tmp_path / "journal" / "0"
    journal = await JournalWriter.open(tmp_path, "0", settings(), clock=clock, storage=disk)
    for text in ("a", "b", "c"):
        await journal.append(note(text))  # 2, 3, 4
    case.act(directory / FIRST)
    evidence = (directory / FIRST).read_bytes() if case.holds == SECOND else b""
    hit = journal.append(note("hit"))
    with pytest.raises(JournalUnavailableError, match=f"{FIRST} {case.why}"):
        await hit
    assert case.why in journal.failure
    with pytest.raises(JournalUnavailableError, match=case.why):
        _ = journal.append(note("refused"))
    journal.post(note("posted"))
    await until(lambda: not journal.failure, 1)
    assert await journal.append(note("after")) == 8  # hit, posted and the probe come before

    held = [line for line in lines(directory / case.holds) if "seq" in line]
    lost = range(*(int(case.missing[0].split("-")[0]), 5)) if case.missing else range(0)
    assert [line["seq"] for line in held] == [seq for seq in range(1, 5) if seq not in lost]
    if case.holds == SECOND:
        assert (directory / FIRST).read_bytes() == evidence
        assert lines(directory / SECOND)[0]["replaces"] == 1
    healed = next(line for line in found(directory) if line.get("action") == "journal.heal")
    assert case.why in healed["detail"]["cause"]
    assert tuple(healed["detail"].get("missing", ())) == case.missing
    assert healed.get("outcome", "ok") == ("records-missing" if case.missing else "ok")
    assert rows(directory) == [seq for seq in range(1, 9) if seq not in lost]

    crash(journal)
    recovered = recover(FileStorage(), directory, journal._files.writer)
    assert recovered.next_seq == 9
    assert [f"{a}-{b}" for a, b in recovered.missing] == [
        told for told in case.missing if not told.startswith("1-")
    ]


def found(directory: Path) -> list[dict[str, Any]]:
    return [line for path in sorted(directory.glob("*-00000[23].jsonl")) for line in lines(path)]


async def test_a_directory_that_comes_back_needs_no_saving(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        await journal.append(note("before"))
        (tmp_path / "journal" / "0").rename(tmp_path / "journal" / "gone")
        with pytest.raises(JournalUnavailableError, match="was deleted or moved"):
            await journal.append(note("hit"))
        await until(lambda: "No such file or directory" in journal.failure)
        (tmp_path / "journal" / "gone").rename(tmp_path / "journal" / "0")
        await until(lambda: not journal.failure, 1)
    assert actions(tmp_path) == ["journal.open", "journal.heal", "journal.close"]
    assert len(records(tmp_path)) == 5


class NoCopies(FaultyStorage):
    """A disk on which saving a segment fails, and nothing else."""

    def create(self, path: Path, size: int) -> SegmentFile:
        if path.name == "rescue":
            raise OSError(errno.EIO, "Input/output error")
        return super().create(path, size)


@pytest.mark.parametrize("reserve", [0, 128 * 1024])
async def test_on_a_full_disk_it_takes_the_reserve_or_waits_for_room(
    tmp_path: Path, clock: ManualClock, reserve: int
) -> None:
    disk, directory = SmallDisk(2**20), tmp_path / "journal" / "0"
    given = settings(reserve_bytes=reserve)
    journal = await JournalWriter.open(tmp_path, "0", given, clock=clock, storage=disk)
    await journal.append(note("a"))
    await until(lambda: not reserve or (directory / "reserve").exists())
    delete(directory / FIRST)
    disk.room = 0
    with pytest.raises(JournalUnavailableError, match="was deleted"):
        await journal.append(note("hit"))
    await until(lambda: "No space left on device" in journal.failure)
    await asyncio.sleep(1.1 if not reserve else 0)  # more often than a failure is borne with
    assert (directory / FIRST).exists() == bool(reserve)
    disk.room = 2**20
    await until(lambda: not journal.failure, 1)
    await journal.close()
    assert [record["seq"] for record in records(tmp_path)] == [1, 2, 3, 4, 5]
    assert [line["seq"] for line in lines(directory / FIRST) if "seq" in line] == [1, 2]


async def test_what_cannot_be_saved_is_said(tmp_path: Path, clock: ManualClock) -> None:
    journal = await JournalWriter.open(tmp_path, "0", settings(), clock=clock, storage=NoCopies())
    await journal.append(note("a"))
    delete(tmp_path / "journal" / "0" / FIRST)
    with pytest.raises(JournalUnavailableError):
        await journal.append(note("hit"))
    await until(lambda: not journal.failure, 2)
    await journal.close()
    healed = next(
        line
        for line in lines(tmp_path / "journal" / "0" / SECOND)
        if line.get("action") == "journal.heal"
    )
    assert healed["outcome"] == "records-missing"
    assert healed["detail"]["missing"] == ["1-2"]


async def test_a_deletion_while_closing_loses_nothing(tmp_path: Path, clock: ManualClock) -> None:
    journal = await JournalWriter.open(tmp_path, "0", settings(), clock=clock)
    await journal.append(note("a"))
    delete(tmp_path / "journal" / "0" / FIRST)
    await journal.close()
    assert actions(tmp_path) == ["journal.open", "journal.close"]
    assert [record["seq"] for record in records(tmp_path)] == [1, 2, 3]
