"""A statement is narrowed to single events alike on both databases, whatever else it says."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Select, func

from proxy.audit.index import selects
from proxy.audit.index.places import Part, Place, Question, at_places
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.query import Cursor, Filter
from proxy.audit.index.rows import Row
from proxy.audit.index.schema import events
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Position
from tests.audit.index.postgresql.databases import ready_database, some_rows
from tests.postgres import Postgres

ROWS = [*some_rows(120, "w-0"), *some_rows(80, "w-1", seed=8)]
SOME = [row for row in ROWS if random.Random(row.seq).random() < 0.3]
PLACES = [Place(row.writer, row.seq, row.at - 5, row.at + 5) for row in SOME]

Ask = Callable[[Select[Any], Part], Sequence[Any]]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def partitioned(request: pytest.FixtureRequest) -> bool:
    """Which database."""
    return bool(request.param == "postgresql")


@pytest.fixture(scope="module")
def ask(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory, *, partitioned: bool
) -> Iterator[Ask]:
    """Puts a statement to a part of an index that holds all rows."""
    path = tmp_path_factory.mktemp("places") / "index.db"
    with ready_database(postgres) as ready, asyncio.Runner() as runner:
        index: PostgresIndex | SqliteIndex = (
            runner.run(PostgresIndex.open(ready.url))
            if partitioned
            else runner.run(SqliteIndex.open(path))
        )

        async def put(statement: Select[Any], part: Part) -> Sequence[Any]:
            async with index._engine.connect() as connection:
                question = Question(connection, statement)
                again = await question.of(part)
                assert await question.of(part) == again
                return again

        for writer in ("w-0", "w-1"):
            rows = [row for row in ROWS if row.writer == writer]
            runner.run(index.insert(rows, writer, Position("", 0, rows[-1].seq)))
        yield lambda statement, part: runner.run(put(statement, part))
        runner.run(index.close())


@pytest.mark.parametrize("timed", [False, True])
def test_the_events_at_these_places_and_no_others(
    ask: Ask, *, partitioned: bool, timed: bool
) -> None:
    part = at_places(PLACES, partitioned=partitioned, timed=timed)
    statement = selects.still_open(Filter(include_noise=True), *events.c)
    found = {Row._make(row) for row in ask(statement, part)}
    assert found == set(SOME) != set(ROWS)


@pytest.mark.parametrize("oldest_first", [False, True])
def test_order_cursor_filter_and_limit_are_kept(
    ask: Ask, *, partitioned: bool, oldest_first: bool
) -> None:
    given = Filter(status=(">=400",), include_noise=True)  # its condition is plain text in part
    meeting = sorted(
        (row for row in SOME if row.terminal and (row.code or 0) >= 400),
        key=Cursor.of,
        reverse=not oldest_first,
    )
    wanted = meeting[3:8]
    statement = selects.page(
        selects.finished(given, *events.c),
        limit=len(wanted), cursor=Cursor.of(meeting[2]), oldest_first=oldest_first,
    )  # fmt: skip
    part = at_places(PLACES, partitioned=partitioned)
    assert [Row._make(row) for row in ask(statement, part)] == wanted != []


def test_groups_are_counted_among_them(ask: Ask, *, partitioned: bool) -> None:
    statement = selects.still_open(
        Filter(include_noise=True), events.c.verb, func.count()
    ).group_by(events.c.verb)
    part = at_places(PLACES, partitioned=partitioned)
    verbs = [row.verb for row in SOME]
    assert dict(ask(statement, part)) == {verb: verbs.count(verb) for verb in verbs}


def test_a_condition_is_a_part_as_well(ask: Ask) -> None:
    statement = selects.still_open(Filter(include_noise=True), func.count())
    assert ask(statement, Part(events.c.writer == "w-1")) == [
        (sum(row.writer == "w-1" for row in ROWS),)
    ]
