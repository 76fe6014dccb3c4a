"""Counting looks at postings where those say it all, and says what they do not tell.

That the counts are right is shown in test_reading.
"""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from proxy.audit.index.blocks import BLOCK
from proxy.audit.index.counting import counted
from proxy.audit.index.query import Filter, Within
from proxy.audit.index.schema import events
from tests.audit.index.some_blocks import BLOCKS, all_rows, filled


@pytest.fixture(scope="module", name="filled")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("counting") / "index.db")


@pytest.fixture
async def connection(filled: Path) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{filled}")
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def test_whole_blocks_are_counted_and_only_the_newest_events_are_left(
    connection: AsyncConnection,
) -> None:
    found = await counted(connection, Filter(verbs=("get",)), "user")
    assert found is not None
    counts: Counter[Any] = Counter()
    for value, count, _ in found.found:
        counts[value] += count
    rows = [row for row in all_rows() if row.seq < (BLOCKS - 1) * BLOCK and row.verb == "get"]
    assert counts == Counter(row.username for row in rows)
    (left,) = found.left
    seqs = (await connection.execute(select(events.c.seq).where(left))).scalars().all()
    assert sorted(seqs) == [row.seq for row in all_rows() if row.seq >= (BLOCKS - 1) * BLOCK]


async def test_blocks_that_a_window_cuts_are_left(connection: AsyncConnection) -> None:
    given = Filter(since=3 * BLOCK + 4000, until=6 * BLOCK)
    found = await counted(connection, given, "verb")
    assert found is not None
    whole = [row for row in all_rows() if 4 * BLOCK <= row.seq < 6 * BLOCK]
    assert sum(count for _, count, _ in found.found) == len(whole)
    assert len(found.left) == 2  # the newest events, and the block that is cut


@pytest.mark.parametrize(
    ("given", "by"),
    [
        (Filter(text="needle"), "user"),  # pieces say where it may be
        (Filter(resources=("pods",)), "user"),
        (Filter(users=("x" * 300,)), "user"),  # values are cut short
        (Filter(open_only=True), "user"),
        (Filter(audit_ids=("id-40",)), "user"),
        (Filter(users=("bob",), within=Within("x" * 300)), "user"),
        (Filter(), "source"),  # addresses are posted as keys
    ],
)
async def test_what_postings_do_not_say_exactly_is_not_counted(
    connection: AsyncConnection, given: Filter, by: Any
) -> None:
    assert await counted(connection, given, by) is None
