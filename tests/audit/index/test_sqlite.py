"""The index in SQLite: what gets in, and what a rewind takes out."""

import asyncio
from pathlib import Path

from proxy.audit.index.query import Cursor, Filter
from proxy.audit.index.rows import row
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Position
from tests.audit.some_rows import framed, shown, some_lines


def test_rewinding_reopens_what_was_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        index = await SqliteIndex.open(tmp_path / "index.db")
        rows = [row("w-0", seq, line) for seq, line in enumerate(framed(some_lines(1, 60)), 1)]
        await index.insert(rows, "w-0", Position("s", 1, len(rows)))
        for cut in (len(rows) - 5, len(rows) // 2, 1):
            await index.rewind("w-0", cut)
            found = await index.search(Filter(include_noise=True), limit=10_000)
            expected = shown(rows[: cut - 1])
            assert sorted(found.rows, key=Cursor.of) == sorted(expected, key=Cursor.of)
        await index.insert(rows, "w-0", Position("s", 1, len(rows)))
        await index.insert(rows, "w-0", Position("s", 1, len(rows)))
        found = await index.search(Filter(include_noise=True), limit=10_000)
        assert sorted(found.rows, key=Cursor.of) == sorted(shown(rows), key=Cursor.of)
        await index.close()

    asyncio.run(scenario())
