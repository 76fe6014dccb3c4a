"""Blocks that hide records are found, whatever is false about them, and made anew."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from proxy.audit.index.blocks import BLOCK, Block, BlockBuilder, Field, encode
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.verifying import false_blocks, hides, remake
from proxy.audit.index.query import Filter
from proxy.audit.index.rows import Row, row
from proxy.audit.index.store import Position
from tests.audit.index.postgresql.databases import Ready, forge, ready_database
from tests.bench.generate_events import lines
from tests.postgres import Postgres

LAST = 2 * BLOCK + 100
WRITER = "w-0"


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [
        row(WRITER, seq, line) for seq, line in enumerate(itertools.islice(lines(LAST), LAST), 1)
    ]


@pytest.fixture(scope="module")
def made(rows: list[Row]) -> Block:
    return BlockBuilder(WRITER, 0).add(rows[: BLOCK - 1])[0]


@pytest.fixture(scope="module")
def ready(postgres: Postgres, rows: list[Row]) -> Iterator[Ready]:
    async def begin(url: str) -> None:
        index = await PostgresIndex.open(url)
        for first in range(0, LAST, 4000):
            step = rows[first : first + 4000]
            await index.insert(step, WRITER, Position("", 0, step[-1].seq))
        await index.close()

    with ready_database(postgres) as ready:
        asyncio.run(begin(ready.url))
        yield ready


@pytest.fixture
async def index(ready: Ready) -> AsyncIterator[PostgresIndex]:
    index = await PostgresIndex.open(ready.url)
    yield index
    await index.close()


def without(block: Block, field: Field, bits: bytes | None = None) -> Block:
    """`block` with the first posting of a field taken away, or its places changed."""
    number = next(n for n, one in enumerate(block.postings) if one.field == field)
    changed = [] if bits is None else [block.postings[number]._replace(bits=bits)]
    postings = block.postings
    return block._replace(postings=[*postings[:number], *changed, *postings[number + 1 :]])


def test_what_is_as_it_should_be_hides_nothing(made: Block) -> None:
    assert hides(made, made) == ""
    more = [*made.postings, made.postings[0]._replace(bits=encode([5]), value=b"more")]
    wider = made._replace(oldest=made.oldest - 1, newest=made.newest + 1, postings=more)
    assert hides(wider, made) == "", "a block may point to more than there is"


def doubled(block: Block) -> Block:
    """Of two slices a search may read the empty one."""
    piece = next(one for one in block.postings if one.field == Field.PIECES)
    return block._replace(postings=[*block.postings, piece._replace(bits=bytes(len(piece.bits)))])


HIDING: dict[str, tuple[Callable[[Block], Block], str]] = {
    "begins later": (
        lambda block: block._replace(oldest=block.oldest + 1),
        "its times leave records out",
    ),
    "ends earlier": (
        lambda block: block._replace(newest=block.newest - 1),
        "its times leave records out",
    ),
    "times of other runs": (
        lambda block: block._replace(runs=block.runs[8:] + block.runs[:8]),
        "the times of a run leave records out",
    ),
    "no times": (lambda block: block._replace(runs=b""), "it cannot be read (error)"),
    "no postings": (lambda block: block._replace(postings=[]), "places of NOISE are missing"),
    "no user": (lambda block: without(block, Field.USER), "places of USER are missing"),
    "no places": (
        lambda block: without(block, Field.CODE, encode([])),
        "places of CODE are missing",
    ),
    "garbage": (lambda block: without(block, Field.NAME, b"Zx"), "it cannot be read (error)"),
    "a slice less": (lambda block: without(block, Field.PIECES), "pieces of text are missing"),
    "a slice emptied": (
        lambda block: without(block, Field.PIECES, b""),
        "pieces of text are missing",
    ),
    "a slice twice": (doubled, "pieces of text are missing"),
    "a run less": (lambda block: block._replace(texts=block.texts[1:]), "texts are missing"),
    "another run's texts": (
        lambda block: block._replace(texts=[(0, block.texts[1][1]), *block.texts[1:]]),
        "texts are missing",
    ),
}


@pytest.mark.parametrize("name", HIDING)
def test_what_hides_records_is_named(made: Block, name: str) -> None:
    change, why = HIDING[name]
    assert hides(change(made), made) == why


EMPTIED = (
    "DELETE FROM kubewitness.postings p USING kubewitness.blocks b"
    " WHERE p.block = b.number AND b.first = 0"
)
FALSE = [
    [
        EMPTIED,
        f"UPDATE kubewitness.blocks SET oldest = 0, newest = 0 WHERE first = {BLOCK}",
        f"INSERT INTO kubewitness.blocks VALUES (999, 'w-0', {10 * BLOCK}, 0, 0, '')",
    ],
    [
        "DELETE FROM kubewitness.blocks WHERE first = 0",
        "UPDATE kubewitness.postings SET bits = 'L' WHERE field = 8",
    ],
]


@pytest.mark.parametrize("number", [0, 1])
async def test_false_blocks_are_found_and_made_anew(
    ready: Ready, index: PostgresIndex, rows: list[Row], number: int
) -> None:
    sample = next(row for row in rows[777:] if row.terminal and row.name and row.verb == "get")
    given = Filter(include_noise=True, names=(sample.name,), until=sample.at + 1)
    assert sample in (await index.search(given, limit=1)).rows
    for statement in FALSE[number]:  # as somebody with the rights of the owner
        ready.database.exec(statement)
    assert (await index.search(given, limit=1)).rows == [], "it is hidden"
    found = await false_blocks(ready.url, index)
    assert [one.first for one in found] == [0, BLOCK, 10 * BLOCK][: len(FALSE[number])]
    await remake(ready.database.url, found)
    assert await false_blocks(ready.url, index) == []
    assert sample in (await index.search(given, limit=1)).rows


@pytest.fixture
def fresh(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as ready:
        yield ready


async def test_a_writer_all_of_whose_blocks_went_is_found_again(
    fresh: Ready, rows: list[Row]
) -> None:
    index = await PostgresIndex.open(fresh.url)
    await index.insert(rows[:20], WRITER, Position("", 0, 20))
    shown = await index.count(Filter(include_noise=True))
    fresh.database.exec("DELETE FROM kubewitness.blocks")
    assert await index.count(Filter(include_noise=True)) < shown
    (found,) = await false_blocks(fresh.url, index)
    assert (found.writer, found.first, found.why) == (WRITER, -BLOCK, "it is missing")
    await remake(fresh.database.url, [found])
    assert await false_blocks(fresh.url, index) == []
    assert await index.count(Filter(include_noise=True)) == shown
    await index.close()


async def test_blocks_of_what_a_retention_removed_hide_nothing(
    fresh: Ready, rows: list[Row]
) -> None:
    index = await PostgresIndex.open(fresh.url)
    for first in range(0, BLOCK, 4096):
        step = rows[first : first + 4096]
        await index.insert(step, WRITER, Position("", 0, step[-1].seq))
    forge(fresh.database, "DELETE FROM kubewitness.events")
    (found,) = await false_blocks(fresh.url, index)
    assert (found.first, found.why) == (0, "its records are not there")
    fresh.database.exec(
        "INSERT INTO kubewitness.removed VALUES"
        f" ('events_m202601', 0, 1, '{WRITER}', 1, {BLOCK}, {BLOCK}, 'r1')"
    )
    assert await false_blocks(fresh.url, index) == []
    await index.close()
