"""Before a day leaves the index, each of its records is found in the archive, byte for byte."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.audit.index.retention import MissingRecordError, check
from proxy.audit.journal.archive import Archive
from tests.audit.journal.test_archive import WRITER, segment


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    segment(tmp_path / "a", 1, 1, 3)
    segment(tmp_path / "b", 2, 4, 3)
    segment(tmp_path / "c", 1, 8, 2, epoch=2)
    return Archive([tmp_path])


async def given(*found: tuple[str, int, bytes]) -> AsyncIterator[tuple[str, int, bytes]]:
    for record in found:
        yield record


def rows(archive: Archive, *seqs: int) -> list[tuple[str, int, bytes]]:
    return [(WRITER, seq, line) for seq, line in archive.lines(WRITER) if seq in seqs]


@pytest.mark.parametrize("seqs", [(), (1,), (2, 3, 4), (1, 6, 9), (1, 2, 3, 4, 5, 6, 8, 9)])
async def test_what_is_there_is_found(archive: Archive, seqs: tuple[int, ...]) -> None:
    told: list[int] = []
    checked = await check(given(*rows(archive, *seqs)), archive, told.append)
    assert checked == (len(seqs), min(len(seqs), 1))
    assert sum(told) == len(seqs)


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([(WRITER, 7, b"{}")], "does not have record 7"),
        ([(WRITER, 10, b"{}")], "does not have record 10"),
        ([("another", 1, b"{}")], "record 1 of writer another"),
        ([(WRITER, 2, b"{}")], "another in the archive"),
    ],
)
async def test_what_is_not_stops_everything(
    archive: Archive, records: list[tuple[str, int, bytes]], says: str
) -> None:
    with pytest.raises(MissingRecordError, match=says):
        await check(given(*rows(archive, 1), *records), archive)
