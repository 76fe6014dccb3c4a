"""Walking through an index meets every row, whatever somebody put beside the true ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.rows import Row
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Position
from proxy.audit.index.walking import Walk
from tests.audit.index.postgresql.databases import Ready, fill, forge, ready_database, some_rows
from tests.postgres import Postgres


@pytest.fixture
def ready(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as ready:
        yield ready


async def walked(walk: Walk, writer: str, *bounds: int) -> list[Row]:
    return [row async for page in walk.pages(writer, *bounds) for row in page]


async def test_pages_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    index = await SqliteIndex.open(tmp_path / "index.db")
    rows = some_rows(2200)
    assert len(rows) > 4000, "more than two pages"
    await index.insert(rows, "w-0", Position("", 0, rows[-1].seq))
    await index.insert([rows[0]._replace(writer="")], "", Position("", 0, 1))
    walk = index.walk()
    assert [writer async for writer in walk.writers()] == ["", "w-0"]
    assert await walked(walk, "w-0") == rows
    assert await walked(walk, "w-0", 7, 2100) == rows[6:2100]
    assert await walk.sequences("w-0", 7, 9) == {7, 8, 9}
    assert (await walk.last("w-0"), await walk.last("nobody")) == (len(rows), 0)
    assert (await walk.count("w-0"), await walk.count("w-0", 5, 8)) == (len(rows), 4)
    await index.close()


async def test_many_rows_under_one_sequence_are_all_met(ready: Ready) -> None:
    index = await PostgresIndex.open(ready.url)
    rows = some_rows(1100)
    await fill(index, rows)
    names = ", ".join(Row._fields)
    others = ", ".join(f"at - {{}} * n AS {name}" if name == "at" else name for name in Row._fields)
    for seq, step in ((1999, 1), (2000, 1), (2001, 86_400_000_000)):
        forge(
            ready.database,
            f"INSERT INTO kubewitness.events ({names}) SELECT {others.format(step)}"
            f" FROM kubewitness.events, generate_series(1, {52_000 if seq == 2000 else 3}) AS n"
            f" WHERE seq = {seq}",
        )
    found = await walked(index.walk(), "w-0")
    assert len(found) == len({(row.seq, row.at) for row in found}) == len(rows) + 52_000 + 6
    assert found == sorted(found, key=lambda row: (row.seq, row.at))
    assert await index.walk().count("w-0") == len(found)
    assert await index.walk().count("w-0", 2001) == len([row for row in found if row.seq > 2000])
    assert await index.walk().sequences("w-0", 1999, 2001) == {1999, 2000, 2001}
    await index.close()
