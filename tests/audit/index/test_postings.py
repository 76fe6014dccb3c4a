"""Reading what blocks hold: each value where it stands, and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from proxy.audit.index.blocks import BLOCK, RUN, Field
from proxy.audit.index.grams import wanted_slots
from proxy.audit.index.narrowing import Need
from proxy.audit.index.postings import Postings, both
from tests.audit.index.some_blocks import BLOCKS, all_rows, filled


@pytest.fixture(scope="module", name="filled")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("postings") / "index.db")


@pytest.fixture
async def postings(filled: Path) -> AsyncIterator[Postings]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{filled}")
    async with engine.connect() as connection:
        yield Postings(connection)
    await engine.dispose()


def bits(*names: str, block: int) -> int:
    found = 0
    for row in all_rows():
        if row.seq // BLOCK == block and row.username in names:
            found |= 1 << row.seq % BLOCK
    return found


async def test_spans_and_the_end_of_the_last_block(postings: Postings) -> None:
    spans, ends = await postings.spans()
    assert [span.first for span in spans] == [number * BLOCK for number in range(BLOCKS - 1)]
    assert ends == {"w": (BLOCKS - 1) * BLOCK}
    assert (spans[2].oldest, spans[2].newest) == (2 * BLOCK + 40, 2 * BLOCK + 40 * 299)
    times = (await postings.times([spans[2].number]))[spans[2].number]
    assert times[1] == (2 * BLOCK + 280, 2 * BLOCK + 480)


@pytest.mark.parametrize(
    ("need", "names"),
    [
        (Need(Field.USER, (b"user-1",)), ["user-1"]),
        (Need(Field.USER, (b"user-1", b"user-4")), ["user-1", "user-4"]),
        (Need(Field.USER, (b"rare",), ((b"user-2", b"user-4"),)), ["rare", "user-2", "user-3"]),
        (Need(Field.USER, (), ((b"r", b"s"), (b"user-6", b"v"))), ["rare", "user-6"]),
        (Need(Field.USER, ()), []),
    ],
)
async def test_places_of_values_and_ranges(
    postings: Postings, need: Need, names: list[str]
) -> None:
    spans, _ = await postings.spans()
    found = await postings.places(need, [spans[3].number, spans[4].number])
    expected = {
        spans[block].number: wanted for block in (3, 4) if (wanted := bits(*names, block=block))
    }
    assert found == expected


async def test_all_values_of_a_field(postings: Postings) -> None:
    spans, _ = await postings.spans()
    found = await postings.values(Field.USER, [spans[3].number])
    assert {value for _, value, _ in found} == {b"rare", *(b"user-%d" % n for n in range(7))}
    assert {where for _, value, where in found if value == b"rare"} == {1 << 40}


async def test_runs_that_have_a_text(postings: Postings) -> None:
    spans, _ = await postings.spans()
    numbers = [span.number for span in spans]
    for text in ("needle", "/ne"):
        left = dict.fromkeys(numbers, (1 << BLOCK // RUN) - 1)
        for piece in wanted_slots(text):
            left = both(left, await postings.runs_with(piece, left))
        assert left == {spans[3].number: 1}


def test_both() -> None:
    assert both(None, {1: 3, 2: 0}) == {1: 3}
    assert both({1: 6, 2: 1, 3: 4}, {1: 3, 2: 2}) == {1: 2}
