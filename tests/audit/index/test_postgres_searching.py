"""PostgreSQL finds what a filter means, as SQLite does: of full blocks and of what is newer."""

import asyncio
import re
from collections.abc import Iterator
from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.audit.index import searching
from proxy.audit.index.blocks import LATER, PLAIN
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.query import Cursor, Filter
from proxy.audit.index.rows import Row
from proxy.audit.index.store import By
from tests.audit.index.postgresql.databases import fill, ready_database, some_rows
from tests.audit.index.searched_world import PROPERTY, SOME, World, few
from tests.audit.some_rows import CREDENTIALS
from tests.bench.explaining import listening, plans
from tests.postgres import Postgres


@pytest.fixture(scope="module")
def world(postgres: Postgres) -> Iterator[World]:
    """Rows of two writers over several blocks, and some that are in none yet."""
    with ready_database(postgres) as ready, pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_FEW", 0)  # narrowed down by every posting
        made = World(partial(PostgresIndex.open, ready.url), stretch=151, writers=2)
        yield made
        made.close()


@pytest.fixture(scope="module")
def older(postgres: Postgres) -> Iterator[World]:
    """The same in blocks of a version that did not post all that is posted now."""
    with ready_database(postgres) as ready, pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_FEW", 0)
        with pytest.MonkeyPatch.context() as then:
            for column in [column for column, field in PLAIN.items() if field in LATER]:
                then.delitem(PLAIN, column)
            made = World(partial(PostgresIndex.open, ready.url), stretch=151, writers=2)
        yield made
        made.close()


@settings(PROPERTY, max_examples=30)
@given(wanted=SOME, reasons=few(["Forbidden", "ok"], ""), credentials=few(CREDENTIALS))
@pytest.mark.parametrize("by", ["user", "verb"])
def test_older_blocks_hide_nothing(
    older: World, by: By, wanted: Filter, reasons: tuple[str, ...], credentials: tuple[str, ...]
) -> None:
    wanted = msgspec.structs.replace(wanted, reasons=reasons, credentials=credentials)
    expected = older.expected(wanted)
    assert older.run(older.index.search(wanted, limit=10_000)).rows == expected
    assert older.run(older.index.stats(wanted, by)).total == len(expected)


@settings(PROPERTY, max_examples=60)
@given(wanted=SOME)
def test_a_search_finds_what_the_filter_means(world: World, wanted: Filter) -> None:
    expected = world.expected(wanted)
    assert world.run(world.index.search(wanted, limit=10_000)).rows == expected
    assert world.run(world.index.count(wanted)) == len(expected)


@settings(PROPERTY, max_examples=12)
@given(wanted=SOME, limit=st.integers(20, 100), oldest_first=st.booleans())
def test_pages_together_are_the_whole(
    world: World, wanted: Filter, limit: int, oldest_first: bool
) -> None:
    found: list[Row] = []
    cursor = None
    while True:
        page = world.run(
            world.index.search(wanted, limit=limit, cursor=cursor, oldest_first=oldest_first)
        )
        found += page.rows
        if page.cursor is None:
            break
        cursor = Cursor.parse(str(page.cursor))
    assert found == (world.expected(wanted)[::-1] if oldest_first else world.expected(wanted))


@pytest.mark.parametrize(
    ("wanted", "looked_up"),
    [
        (Filter(), {"open"}),  # what is in no block yet fills the page
        (Filter(users=("alice",)), {"open", "in a block"}),
        (Filter(text="system:x"), {"open", "in a block"}),
    ],
)
def test_events_are_looked_up_by_key_in_a_partition_that_was_just_filled(
    postgres: Postgres, wanted: Filter, looked_up: set[str]
) -> None:
    """The database has no statistics of it yet, takes it for small, and would read all of it."""

    async def planned(url: str) -> list[str]:
        index = await PostgresIndex.open(url)
        await fill(index, some_rows(8_000))
        with listening(index) as asked:
            await index.search(wanted)
        found = await plans(index._engine, asked)
        await index.close()
        return found

    with ready_database(postgres) as ready:
        lookups = [plan for plan in asyncio.run(planned(ready.url)) if "Function Scan" in plan]
    assert len(lookups) == len(looked_up)
    for plan in lookups:
        # From the list to the events, one after the other.
        assert re.search(r"Nested Loop\n +-> +Function Scan", plan), plan
        assert re.search(r"Index Cond: .*\bwriter = .*\bseq = ", plan), plan
        assert not re.search(r"Seq Scan|Bitmap|Materialize|Filter: .*\bseq\b", plan), plan
