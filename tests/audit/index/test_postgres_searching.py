"""PostgreSQL finds what a filter means, as SQLite does: of full blocks and of what is newer."""

from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.audit.index import searching
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.query import Cursor, Filter
from proxy.audit.index.rows import Row
from tests.audit.index.postgresql.databases import ready_database
from tests.audit.index.searched_world import PROPERTY, SOME, World
from tests.postgres import Postgres


@pytest.fixture(scope="module")
def world(postgres: Postgres) -> Iterator[World]:
    """Rows of two writers over several blocks, and some that are in none yet."""
    with ready_database(postgres) as ready, pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_FEW", 0)  # narrowed down by every posting
        made = World(partial(PostgresIndex.open, ready.url), stretch=151, writers=2)
        yield made
        made.close()


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
