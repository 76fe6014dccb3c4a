"""Searching looks at few events, and at each of them once.

That it finds what a filter means is shown in test_reading.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from proxy.audit.index import selects
from proxy.audit.index.blocks import BLOCK
from proxy.audit.index.places import Question
from proxy.audit.index.query import Filter
from proxy.audit.index.schema import events
from proxy.audit.index.searching import Finder
from tests.audit.index.some_blocks import filled


@pytest.fixture(scope="module", name="filled")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("searching") / "index.db")


@pytest.fixture
async def engine(filled: Path) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{filled}")
    yield engine
    await engine.dispose()


@pytest.mark.parametrize(
    ("given", "found", "looks"),
    [
        (Filter(users=("nobody",)), 0, 12),
        (Filter(users=("rare",)), 1, 22),
        (Filter(text="NEEDLE"), 1, 40),
        (Filter(text="nowhere"), 0, 40),
        # Both are frequent, and never together.
        (Filter(users=("user-1",), verbs=("delete",)), 0, 30),
        (Filter(users=("user-1",), verbs=("get",)), 20, 8),
        (Filter(), 20, 8),
        (Filter(since=BLOCK, until=BLOCK + 1000), 20, 12),
    ],
)
async def test_few_statements_answer(
    engine: AsyncEngine, given: Filter, found: int, looks: int
) -> None:
    asked: list[str] = []

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def _note(_c: object, _r: object, statement: str, *_: object) -> None:
        asked.append(statement)

    noting = engine.execution_options(asked=lambda statement, _: asked.append(statement))
    async with noting.connect() as connection:
        rows = await Finder(connection, given).page(20, None, oldest_first=False)
    assert len(rows) == found
    assert len(asked) <= looks


@pytest.mark.parametrize(
    "given",
    [
        Filter(),
        Filter(users=("user-1",)),
        Filter(users=("user*",)),
        Filter(text="pod-3"),
        Filter(text="needle"),
        Filter(users=("rare",)),
        Filter(since=7 * BLOCK, until=9 * BLOCK),
    ],
)
async def test_parts_share_out_what_is_found(engine: AsyncEngine, given: Filter) -> None:
    wanted = selects.finished(given, events.c.seq)
    seen: set[int] = set()
    async with engine.connect() as connection:
        async for part in Finder(connection, given).parts():
            found = [seq for (seq,) in await Question(connection, wanted).of(part)]
            assert seen.isdisjoint(found)
            seen.update(found)
        everything = set((await connection.execute(wanted)).scalars())
    assert seen == everything != set()
