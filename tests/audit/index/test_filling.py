"""Blocks in the making outlive failures and restarts: none is lost, none is made twice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select

from proxy.audit.index.blocks import BLOCK, Field, decode
from proxy.audit.index.filling import Filling
from proxy.audit.index.rows import EVENT, Row
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Position


def a_row(seq: int) -> Row:
    return Row("w", seq, EVENT, f"id-{seq}", at=seq)


async def test_what_was_not_committed_is_collected_again(tmp_path: Path) -> None:
    index = await SqliteIndex.open(tmp_path / "index.db")
    await index.insert([a_row(1)], "w", Position("s", 1, 1))
    filling = Filling(index._all, index.after)

    async def fail() -> None:
        async with filling.adding([a_row(2), a_row(BLOCK)], "w") as full:
            assert [block.first for block in full] == [0]
            raise RuntimeError("not committed")

    with pytest.raises(RuntimeError):
        await fail()
    async with filling.adding([a_row(2), a_row(BLOCK)], "w") as full:
        assert [(block.first, block.oldest, block.newest) for block in full] == [(0, 1, 2)]
    async with filling.adding([a_row(BLOCK + 1), a_row(2 * BLOCK)], "w") as full:
        assert [block.first for block in full] == [BLOCK]
    await index.close()


async def test_what_the_index_lost_again_is_collected_again(tmp_path: Path) -> None:
    """A standby that lacks the last commits took over: rows are told again, with their blocks."""
    before = await SqliteIndex.open(tmp_path / "before.db")
    after = await SqliteIndex.open(tmp_path / "after.db")
    serving = before

    async def ask(statement: Select[Any]) -> Sequence[Any]:
        return await serving._all(statement)

    async def told(writer: str, seq: int, limit: int) -> list[Row]:
        return await serving.after(writer, seq, limit)

    filling = Filling(ask, told)
    first = [a_row(1), a_row(2)]
    for index in (before, after):
        await index.insert(first, "w", Position("s", 1, 2))
    async with filling.adding([a_row(3), a_row(BLOCK), a_row(BLOCK + 1)], "w") as full:
        assert [block.first for block in full] == [0]
    serving = after  # has neither those rows nor their block
    async with filling.adding([a_row(3), a_row(BLOCK), a_row(BLOCK + 1)], "w") as full:
        assert [(block.first, block.oldest, block.newest) for block in full] == [(0, 1, 3)]
    for index in (before, after):
        await index.close()


async def test_a_new_writer_is_marked_once(tmp_path: Path) -> None:
    index = await SqliteIndex.open(tmp_path / "index.db")
    filling = Filling(index._all, index.after)
    async with filling.adding([a_row(1)], "w") as full:
        assert [block.first for block in full] == [-BLOCK]
    async with filling.adding([a_row(2)], "w") as full:
        assert full == []
    await index.insert([a_row(1), a_row(2)], "w", Position("s", 1, 2))
    async with Filling(index._all, index.after).adding([a_row(3)], "w") as full:
        assert full == []
    await index.close()


async def test_rows_of_a_step_that_failed_are_taken_out_without_asking_the_index(
    tmp_path: Path,
) -> None:
    index = await SqliteIndex.open(tmp_path / "index.db")
    asked: list[int] = []

    async def after(writer: str, seq: int, limit: int) -> list[Row]:
        asked.append(seq)
        return await index.after(writer, seq, limit)

    filling = Filling(index._all, after)
    async with filling.adding([a_row(1), a_row(2)], "w"):
        pass
    looked = len(asked)

    async def fail() -> None:
        async with filling.adding([a_row(3), a_row(4)], "w") as full:
            assert full == []
            raise RuntimeError("not committed")

    for _ in range(2):
        with pytest.raises(RuntimeError):
            await fail()
    async with filling.adding([a_row(3), a_row(5), a_row(BLOCK)], "w") as full:
        (block,) = full
        assert (block.oldest, block.newest) == (1, 5)
        users = [posting for posting in block.postings if posting.field == Field.USER]
        assert [decode(posting.bits) for posting in users] == [0b101110]
    assert len(asked) == looked
    await index.close()
