"""An index with many full blocks, filled in a second."""

import asyncio
from pathlib import Path

from proxy.audit.index.blocks import BLOCK
from proxy.audit.index.rows import EVENT, Row
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Position

BLOCKS = 40
EACH = 300
"""Events in a block, less one."""


def a_row(seq: int) -> Row:
    """Seven users, one of whom deletes; and one event that is like no other."""
    user = "rare" if seq == 3 * BLOCK + 40 else f"user-{seq % 7}"
    verb = "get" if seq % 7 else "delete"
    uri = f"/api/v1/pods/pod-{seq % 5}" if user != "rare" else "/needle"
    return Row("w", seq, EVENT, f"id-{seq}", at=seq, username=user, verb=verb, uri=uri)


def all_rows() -> list[Row]:
    """What `filled` holds."""
    return [
        a_row(first + 40 * number)
        for first in range(0, BLOCKS * BLOCK, BLOCK)
        for number in range(1, EACH)
    ]


def filled(path: Path) -> Path:
    """Make the index."""

    async def fill() -> None:
        index = await SqliteIndex.open(path)
        rows = all_rows()
        for at in range(0, len(rows), EACH - 1):
            some = rows[at : at + EACH - 1]
            await index.insert(some, "w", Position("s", 1, some[-1].seq))
        await index.close()

    asyncio.run(fill())
    return path
