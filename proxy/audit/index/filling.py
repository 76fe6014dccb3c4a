"""Blocks in the making: what each writer has added since its last full block.

Whoever inserts rows asks here which blocks they complete, and inserts those in the same
transaction. When that fails, the rows are taken out again; where they completed a block, what was
collected is forgotten, and read from the index next time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Select, func, select

from proxy.audit.index.blocks import BLOCK, Block, BlockBuilder, marker
from proxy.audit.index.rows import Row
from proxy.audit.index.schema import blocks

Ask = Callable[[Select[Any]], Awaitable[Sequence[Any]]]
"""All rows of a statement, from the index that is filled."""
After = Callable[[str, int, int], Awaitable[list[Row]]]
"""See `proxy.audit.index.reading.Reader.after`, of the same index."""


class Filling:
    """The block in the making of each writer of one index."""

    def __init__(self, ask: Ask, after: After) -> None:
        self._ask = ask
        self._after = after
        self._builders: dict[str, BlockBuilder] = {}

    def forget(self, writer: str) -> None:
        """What was collected is no longer so."""
        self._builders.pop(writer, None)

    @asynccontextmanager
    async def adding(self, rows: Sequence[Row], writer: str) -> AsyncIterator[list[Block]]:
        """Gives the blocks that are full with these rows; the body commits both."""
        builder = self._builders.pop(writer, None)  # and back when it is committed
        full: list[Block] = []
        # Between our last rows and these, another process may have inserted some. And what was
        # committed may be told again: a standby without it took over, and its blocks are gone too.
        if builder is None or (rows and rows[0].seq != builder.following):
            builder, full = await self._begin(writer)
        before = builder.following
        full += await asyncio.to_thread(builder.add, rows)
        try:
            yield full
        except BaseException:
            if not full:
                builder.back(before)
                self._builders[writer] = builder
            raise
        self._builders[writer] = builder

    async def _begin(self, writer: str) -> tuple[BlockBuilder, list[Block]]:
        """Go on where the index ends: behind its last full block of `writer`."""
        of_writer = select(func.max(blocks.c.first)).where(blocks.c.writer == writer)
        last = (await self._ask(of_writer))[0][0]
        full = [marker(writer)] if last is None else []
        builder = BlockBuilder(writer, 0 if last is None else last + BLOCK)
        seq = builder.first - 1
        while rows := await self._after(writer, seq, BLOCK):
            full += await asyncio.to_thread(builder.add, rows)
            seq = rows[-1].seq
        return builder, full
