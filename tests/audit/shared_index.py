"""A shared index in memory, with the ways a database has of being away."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from proxy.audit.index.rows import Row
from proxy.audit.index.store import ForeignRecordsError, Position
from proxy.errors import UnavailableError


class MemoryIndex:
    """What a Shipper and LiveRows use of `SharedIndex`; rows by writer and sequence."""

    def __init__(self) -> None:
        self.rows: defaultdict[str, dict[int, Row]] = defaultdict(dict)
        self.down = ""
        self.lose_answer = 0
        """So many inserts commit, and their answer is lost."""
        self.answering = asyncio.Event()
        self.answering.set()
        self.attested = 0
        self.asked: list[str] = []
        self._heard: list[Callable[[str, int], None]] = []

    async def _ask(self, what: str) -> None:
        self.asked.append(what)
        await self.answering.wait()
        if self.down:
            raise UnavailableError(self.down)

    async def attest(self) -> None:
        await self._ask("attest")
        self.attested += 1

    async def positions(self) -> dict[str, Position]:
        await self._ask("positions")
        return {writer: Position("", 0, max(rows)) for writer, rows in self.rows.items() if rows}

    async def insert(self, rows: Sequence[Row], writer: str, position: Position) -> None:
        await self._ask("insert")
        known = self.rows[writer]
        for row in rows:
            if known.get(row.seq, row).line != row.line:
                raise ForeignRecordsError(f"other records of writer {writer} from seq {row.seq}")
        known.update((row.seq, row) for row in rows)
        if self.lose_answer:
            self.lose_answer -= 1
            raise UnavailableError("the connection was cut")
        for heard in self._heard:
            heard(writer, position.seq)

    async def rewind(self, writer: str, seq: int) -> None:
        """Nothing is taken out."""

    async def after(self, writer: str, seq: int, limit: int) -> list[Row]:
        await self._ask("after")
        return [row for number, row in sorted(self.rows[writer].items()) if number > seq][:limit]

    async def hear(self, heard: Callable[[str, int], None]) -> None:
        await self._ask("hear")
        self._heard.append(heard)
        try:
            await asyncio.Event().wait()
        finally:
            self._heard.remove(heard)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not used here")
