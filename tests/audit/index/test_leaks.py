"""0 leaks: what a random viewer finds with a random filter is what they may see, and all of it.

`tests.audit.index.leaks` says how; run by itself it asks as often as one likes.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.sqlite import SqliteIndex
from tests.audit.index.leaks import Seen, ask_many, some_world
from tests.audit.index.postgresql.databases import ready_database
from tests.postgres import Postgres

ON_SQLITE = 400
ON_POSTGRESQL = 100


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Seen]:
    world = some_world(partial(SqliteIndex.open, tmp_path / "index.db"))
    yield Seen(world)
    world.close()


@pytest.fixture
def postgresql(postgres: Postgres) -> Iterator[Seen]:
    with ready_database(postgres) as ready:
        world = some_world(partial(PostgresIndex.open, ready.url))
        yield Seen(world)
        world.close()


@pytest.mark.parametrize("first", [1_000_000, 1_100_000])
def test_nobody_finds_in_sqlite_what_they_may_not_see(sqlite: Seen, first: int) -> None:
    ask_many(sqlite, range(first, first + ON_SQLITE))
    assert all(sqlite.found[what] for what in WHAT), sqlite.found


def test_nobody_finds_in_postgresql_what_they_may_not_see(postgresql: Seen) -> None:
    ask_many(postgresql, range(2_000_000, 2_000_000 + ON_POSTGRESQL))
    assert sum(postgresql.found.values()) > ON_POSTGRESQL, postgresql.found


WHAT = (
    "rows of searches",
    "lines of exports",
    "rows of tails",
    "counted",
    "touchers",
    "looked up and seen",
    "looked up and not seen",
)
"""None of it is empty in so many questions."""
