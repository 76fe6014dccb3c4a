"""Whether the blocks in PostgreSQL hide nothing, and making anew those that do.

A search looks where blocks point it. `add_block` sees to it that a block comes whole, once and with
its last record; what stands in it is the word of whoever added it. So `db rebuild` makes each block
again from the records and compares. A block may point to more than there is (a retention leaves
such); it must not point to less.
"""

import asyncio
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from proxy.audit.index.blocks import (
    BLOCK,
    RUNS,
    Block,
    BlockBuilder,
    Field,
    decode,
    marker,
    run_times,
)
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.connecting import connect, translated
from proxy.audit.index.postgresql.upgrade import acting_as_owner
from proxy.audit.index.schema import run_key
from proxy.state.roles import SCHEMA, VIEWS, Role

_PAGE: Final = 4000
"""Records read at once."""

Told = Callable[[int], None]
"""Told how many more blocks were looked at."""


class FalseBlock(NamedTuple):
    """A block that hides records from searches."""

    writer: str
    first: int
    number: int | None
    """Of what stands in the database; None where a block is missing."""
    why: str
    made: Block | None
    """What belongs there; None where no block does."""


async def false_blocks(
    url: str, index: PostgresIndex, told: Told = lambda _: None
) -> list[FalseBlock]:
    """Every block that hides records, by writer and sequence; `serve` may go on meanwhile.

    Raises UnavailableError and SettingsError as `connect` does.
    """
    async with _reading(url) as connection:
        # Who has records, though all blocks were taken away; and who has blocks, though no record.
        here = [writer async for writer in index.walk().writers()]
        others = await connection.fetch(f"SELECT DISTINCT writer FROM {VIEWS}.blocks ORDER BY 1")
        return [
            one
            for writer in dict.fromkeys([*here, *(writer for (writer,) in others)])
            async for one in _of_writer(connection, index, writer, told)
        ]


async def _of_writer(
    connection: Any,  # noqa: ANN401  # asyncpg is untyped
    index: PostgresIndex,
    writer: str,
    told: Told,
) -> AsyncIterator[FalseBlock]:
    rows = await connection.fetch(
        f"SELECT first, number, oldest, newest, runs FROM {VIEWS}.blocks WHERE writer = $1",
        writer,
    )
    # What is added after this look is not looked at.
    stored = {row["first"]: row for row in rows}
    if not stored:
        # A search finds nothing of a writer without a block: what says that there is one comes first.
        yield FalseBlock(writer, -BLOCK, None, "it is missing", marker(writer))
        return
    last = max(stored)
    builder = BlockBuilder(writer, 0)
    seq = -1
    while builder.first <= last and (page := await index.after(writer, seq, _PAGE)):
        seq = page[-1].seq
        for made in await asyncio.to_thread(builder.add, page):
            row = stored.pop(made.first, None)
            if row is None and made.first < last:
                yield FalseBlock(writer, made.first, None, "it is missing", made)
            elif row is not None and (why := await _why_false(connection, row, made)):
                yield FalseBlock(writer, made.first, row["number"], why, made)
            told(1)
    removed = await connection.fetchval(
        f"SELECT max(last_seq) FROM {VIEWS}.removed WHERE writer = $1", writer
    )
    for first, row in sorted(stored.items()):
        # Those of records that a retention removed stay, and point to nothing.
        if first >= builder.first and (removed is None or first > removed):
            why = "its records are not there"
            yield FalseBlock(writer, first, row["number"], why, None)


async def _why_false(connection: Any, row: Any, made: Block) -> str:  # noqa: ANN401
    number = row["number"]
    postings = await connection.fetch(
        f"SELECT field, value, bits FROM {VIEWS}.postings WHERE block = $1", number
    )
    texts = await connection.fetch(
        f"SELECT run, texts FROM {VIEWS}.run_texts WHERE run >= $1 AND run < $2",
        run_key(number, 0),
        run_key(number, RUNS),
    )
    stored = Block(
        made.writer,
        made.first,
        row["oldest"],
        row["newest"],
        row["runs"],
        postings,
        [(run - run_key(number, 0), packed) for run, packed in texts],
    )
    return await asyncio.to_thread(hides, stored, made)


def hides(stored: Block, made: Block) -> str:
    """What `stored` hides of the records that `made` is of; empty when it hides nothing."""
    if not made.postings:
        return ""
    looks = (_hidden_by_times, _hidden_by_postings, _hidden_by_texts)
    try:
        return next((why for look in looks for why in look(stored, made)), "")
    except Exception as error:  # noqa: BLE001  # whatever somebody else wrote there
        return f"it cannot be read ({type(error).__name__})"


def _hidden_by_times(stored: Block, made: Block) -> Iterator[str]:
    if stored.oldest > made.oldest or stored.newest < made.newest:
        yield "its times leave records out"
    both = zip(run_times(stored.runs), run_times(made.runs), strict=True)
    for (low, high), (oldest, newest) in both:
        if oldest and (low > oldest or high < newest):
            yield "the times of a run leave records out"


def _hidden_by_postings(stored: Block, made: Block) -> Iterator[str]:
    places: defaultdict[tuple[int, bytes], int] = defaultdict(int)
    slices: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for field, value, bits in stored.postings:
        if field == Field.PIECES:
            slices[value].append(bits)
        else:
            places[field, value] |= decode(bits)
    for field, value, bits in made.postings:
        if field != Field.PIECES:
            if decode(bits) & ~places[field, value]:
                yield f"places of {Field(field).name} are missing"
        # Of several slices a search reads one.
        elif not slices[value] or not all(_covers(one, bits) for one in slices[value]):
            yield "pieces of text are missing"


def _hidden_by_texts(stored: Block, made: Block) -> Iterator[str]:
    texts = dict(stored.texts)
    for run, packed in made.texts:
        if run not in texts or not _same_texts(texts[run], packed):
            yield "texts are missing"


def _covers(stored: bytes, made: bytes) -> bool:
    have, need = (int.from_bytes(bits, "little") for bits in (stored, made))
    return len(stored) == len(made) and not need & ~have


def _same_texts(stored: bytes, made: bytes) -> bool:
    """Whether each event's text is as it should be; more events may be there."""
    have, need = (zlib.decompress(packed).split(b"\0") for packed in (stored, made))
    return len(have) >= len(need) and all(
        text in (b"", mine) for mine, text in zip(have, need, strict=False)
    )


async def remake(admin_url: str, false: list[FalseBlock]) -> None:
    """Put what belongs there in the place of false blocks, as the owner, in one transaction.

    Raises SettingsError when the administrator of `admin_url` may not act as the owner.
    """
    async with acting_as_owner(admin_url) as connection, connection.transaction():
        # Readers go on and see what was there; nobody adds a block meanwhile.
        await connection.execute(f"LOCK TABLE {SCHEMA}.blocks IN SHARE ROW EXCLUSIVE MODE")
        for one in false:
            await _remove(connection, one)
            if one.made is not None:
                await _insert(connection, one.number, one.made)


async def _remove(connection: Any, one: FalseBlock) -> None:  # noqa: ANN401
    if one.number is None:
        return
    low, high = run_key(one.number, 0), run_key(one.number, RUNS)
    await connection.execute(f"DELETE FROM {SCHEMA}.postings WHERE block = $1", one.number)
    await connection.execute(
        f"DELETE FROM {SCHEMA}.run_texts WHERE run >= $1 AND run < $2", low, high
    )
    await connection.execute(f"DELETE FROM {SCHEMA}.blocks WHERE number = $1", one.number)


async def _insert(connection: Any, number: int | None, block: Block) -> None:  # noqa: ANN401
    if number is None:
        number = await connection.fetchval(f"SELECT nextval('{SCHEMA}.block_numbers')")
    await connection.execute(
        f"INSERT INTO {SCHEMA}.blocks (number, writer, first, oldest, newest, runs)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        number,
        *block[: len(Block._fields) - 2],
    )
    await connection.copy_records_to_table(
        "postings",
        schema_name=SCHEMA,
        columns=("block", "field", "value", "bits"),
        records=[(number, *one) for one in block.postings],
    )
    await connection.copy_records_to_table(
        "run_texts",
        schema_name=SCHEMA,
        columns=("run", "texts"),
        records=[(run_key(number, run), text) for run, text in block.texts],
    )


@asynccontextmanager
async def _reading(url: str) -> AsyncIterator[Any]:
    connection = await connect(url, Role.READER)
    try:
        with translated(hint=""):
            yield connection
    finally:
        await connection.close()
