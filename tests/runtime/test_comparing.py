"""The comparison goes on after a difference, over any number of blocks, and while records are added."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.audit.index.blocks import BLOCK
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.query import Filter
from proxy.audit.index.rows import Row, row
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Position
from proxy.audit.index.walking import Walk
from proxy.audit.journal.archive import Archive
from proxy.clock import rfc3339
from proxy.runtime.comparing import Compared, Gone, compare
from proxy.runtime.rebuild import fill_and_compare, look_at_blocks
from tests.audit.index.postgresql.databases import Ready, forge, forged_row, ready_database
from tests.audit.journal.test_archive import WRITER, segment
from tests.audit.journals import NOW
from tests.postgres import Postgres

SEGMENT = 4096
ALL = Filter(include_noise=True)


@pytest.fixture
def ready(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as ready:
        yield ready


def body(seq: int) -> bytes:
    return b'"kind":"SystemEvent","auditID":"e-%d","stageTimestamp":"%b","action":"a-%d"' % (
        *(seq, rfc3339(NOW + seq / 100).encode()),
        seq % 10,
    )


def write(journal: Path, number: int, count: int = SEGMENT) -> None:
    segment(journal, number + 1, number * SEGMENT + 1, count, body=body)


def rows_of(journal: Path) -> list[Row]:
    return [row(WRITER, seq, line) for seq, line in Archive([journal]).lines(WRITER)]


def quiet(step: str, done: int, total: int) -> None:
    assert done >= 0, (step, total)


def told(compared: Compared) -> list[tuple[str, int]]:
    return [(one.what.value, one.seq) for one in compared.differences]


async def test_several_at_once_across_the_boundary_of_blocks(ready: Ready, tmp_path: Path) -> None:
    journal, end = tmp_path / "journal", 2 * BLOCK + SEGMENT
    for number in range(4):
        write(journal, number)
    index = await PostgresIndex.open(ready.url)
    assert (await fill_and_compare(index, [journal], quiet)).records == BLOCK
    # What is to come is taken already, within the next block and behind it; then the journal grows.
    forge(
        ready.database,
        forged_row(f"seq = {BLOCK + 5}, at = at + 5")
        + forged_row(f"seq = {2 * BLOCK + 7}, at = at + 7, line = 'planted'"),
    )
    for number in range(4, 9):
        write(journal, number)
    compared = await fill_and_compare(index, [journal], quiet)
    planted = [("different", BLOCK + 5), ("different", 2 * BLOCK + 7)]
    assert [one for one in told(compared) if one[0] != "restored"] == planted
    assert compared.records == end - 2

    events = "kubewitness.events"
    forge(
        ready.database,
        f"UPDATE {events} SET line = 'forged' WHERE seq IN (9, {BLOCK - 1}, {BLOCK}, {BLOCK + 1});"
        f"DELETE FROM {events} WHERE seq IN (77, {BLOCK - 2}, {BLOCK + 2});"
        f"UPDATE {events} SET action = 'b' WHERE seq = {BLOCK + 3};"
        "DELETE FROM kubewitness.postings p USING kubewitness.blocks b"
        f" WHERE p.block = b.number AND b.first = 0 AND b.writer = '{WRITER}';"
        + forged_row(f"seq = {end + 1}")
        + forged_row("writer = 'nobody'"),
    )
    compared = await fill_and_compare(index, [journal], quiet)
    assert told(compared) == [
        *(("restored", 77), ("restored", BLOCK - 2), ("restored", BLOCK + 2)),
        *(("different", 9), ("different", BLOCK - 1), ("different", BLOCK)),
        *(("different", BLOCK + 1), ("different", BLOCK + 3)),
        *planted,
        ("unknown", end + 1),
    ]
    assert (compared.records, compared.unaccounted) == (end - 7, [("nobody", 1, None)])
    found, left = await look_at_blocks(ready.url, index, "", quiet)
    assert found == left
    assert {("nobody", -BLOCK), (WRITER, 0)} <= {(one.writer, one.first) for one in found}
    found, left = await look_at_blocks(ready.url, index, ready.database.url, quiet)
    assert (len(found) >= 2, left) == (True, [])
    assert await index.count(ALL) == end + 2, "searches find all there is, the false ones, too"
    await index.close()


class Late(Walk):
    """Between the look at the ends and the rows, somebody goes on writing and indexing."""

    index: SqliteIndex
    journal: Path
    rows: list[Row]

    async def pages(self, writer: str, *bounds: Any) -> AsyncIterator[list[Row]]:
        if bounds[0] > 0:
            write(self.journal, 1, 20)
            (self.journal / "000001-000001.jsonl").touch()
            self.rows = rows_of(self.journal)
            await self.index.insert(self.rows[SEGMENT : SEGMENT + 10], writer, Position("", 0, 1))
        async for page in super().pages(writer, *bounds):
            yield page


@pytest.mark.parametrize("planted", [False, True])
async def test_what_is_added_meanwhile_is_no_difference(tmp_path: Path, *, planted: bool) -> None:
    write(tmp_path, 0)
    index = await SqliteIndex.open(tmp_path / "index.db")
    assert (await fill_and_compare(index, [tmp_path], quiet)).records == SEGMENT
    if planted:  # so that the index seems to end far behind what is being added
        far = rows_of(tmp_path)[0]._replace(seq=10**15)
        await index.insert([far], WRITER, Position("", 0, far.seq))
    walk, compared = Late(index._all), Compared()
    walk.index, walk.journal = index, tmp_path
    await compare(walk, [tmp_path], {WRITER: SEGMENT}, Gone({}), compared, quiet)
    assert told(compared) == ([("unknown", 10**15)] if planted else [])
    assert compared.records == SEGMENT + (10 if planted else 0)
    await index.close()


async def test_what_only_a_journal_has_is_missing_up_to_where_it_must_be(tmp_path: Path) -> None:
    write(tmp_path, 0, 30)
    rows = rows_of(tmp_path)
    index = await SqliteIndex.open(tmp_path / "index.db")
    await index.insert(rows[5:20], WRITER, Position("", 0, 20))
    compared = Compared()
    day = rows[2].at
    gone = Gone({WRITER: [(day, day + 1)]})
    await compare(index.walk(), [tmp_path], {WRITER: 25}, gone, compared, quiet)
    expected = [1, 2, 4, 5, 21, 22, 23, 24, 25]
    assert told(compared) == [("missing", seq) for seq in expected]
    assert (compared.records, compared.wrong, compared.equal) == (15, 9, False)
    await index.close()
