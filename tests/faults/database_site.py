"""What the rigs of the database share: a server that can be hurt, and writers that ship to it.

The comparison is not the product's: it reads the segments as text and the table as an
administrator sees it.
"""

import asyncio
import functools
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg

from proxy.audit.index.postgresql.upgrade import upgrading
from tests.faults.database_ship import Ship
from tests.faults.fault_proxy import FaultProxy
from tests.faults.report import Report
from tests.postgres import Database, Postgres

_LOGIN: Final = "kw_rig"
_BLOCK: Final = 16_384
"""Sequences of a block; the first block of a writer is one before its first sequence."""
_MOST: Final = 20
"""Violations that are kept of one kind: one broken batch can make thousands."""
_QUIET: Final = (OSError, asyncpg.exceptions.PostgresError, asyncpg.exceptions.InterfaceError)


class Site:
    """Everything in one directory and one server. Made by `site`."""

    def __init__(
        self, server: Postgres, proxy: FaultProxy, folder: Path, seed: int, writers: int
    ) -> None:
        self.server = server
        self.proxy = proxy
        self.data_dir = folder
        self.chance = random.Random(seed)
        self.ships = [Ship(folder, f"slot-{number}", self.chance) for number in range(writers)]

    @property
    def ship(self) -> Ship:
        """The first writer; in some rigs the only one."""
        return self.ships[0]

    async def prepare(self) -> None:
        """Set the database up as `kubewitness db upgrade` does, and open the journals."""
        self.database: Database = await asyncio.to_thread(self.server.create_database)
        await asyncio.to_thread(self.server.exec, f"CREATE ROLE {_LOGIN} LOGIN PASSWORD 'pw'")
        async with upgrading(self.database.url, [_LOGIN], lambda _: None):
            pass
        for ship in self.ships:
            await ship.open_journal()

    async def start(self, *, direct: bool = False) -> None:
        """Ship what the journals have and what comes, through the proxy or past it."""
        url = self.database.login(_LOGIN, "pw")
        for ship in self.ships:
            await ship.start(url if direct else self.proxy.url(url))

    async def stop(self) -> None:
        """Stop shipping."""
        await asyncio.gather(*(ship.stop() for ship in self.ships))

    async def close_journals(self) -> None:
        """Nothing more is written."""
        await asyncio.gather(*(ship.journal.close() for ship in self.ships))

    def acknowledged(self) -> dict[str, int]:
        """By writer, the last sequence that the index said it has committed."""
        return {ship.writer: ship.acknowledged for ship in self.ships}

    async def progress(self, seconds: float) -> None:
        """Wait until the index has committed more of some writer; so long at most."""
        before, deadline = self.acknowledged(), time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(ship.acknowledged > before[ship.writer] for ship in self.ships):
                return
            await asyncio.sleep(0.002)

    async def highest(self) -> dict[str, int]:
        """By writer, the last sequence that the table has, asked past the proxy."""
        connection = await asyncpg.connect(self.database.url)
        try:
            rows = await connection.fetch(
                "SELECT w, (SELECT max(seq) FROM kubewitness.events WHERE writer = w)"
                " FROM unnest($1::text[]) AS w",
                [ship.writer for ship in self.ships],
            )
            return {writer: last or 0 for writer, last in rows}
        finally:
            await connection.close()

    async def level(self, report: Report, seconds: float) -> None:
        """Wait until the index says that it has all journals; a violation when it does not."""
        await asyncio.gather(*(ship.level(report, seconds) for ship in self.ships))

    async def compare(self, report: Report) -> None:
        """The table against the journal: nothing lost, doubled, altered or out of order."""
        connection = await asyncpg.connect(self.database.url)
        try:
            async with connection.transaction():
                for ship in self.ships:
                    last = await compare_lines(
                        connection, ship.slot, ship.writer, ship.lines(), report
                    )
                    await self._compare_blocks(connection, ship, last, report)
                await self._compare_calls(connection, report)
        finally:
            await connection.close()

    async def _compare_blocks(self, connection: Any, ship: Ship, last: int, report: Report) -> None:
        """Each stretch of sequences that is full has its block, and no other has."""
        found = await connection.fetch(
            "SELECT first FROM kubewitness.blocks WHERE writer = $1 ORDER BY first", ship.writer
        )
        wanted = [-_BLOCK, *range(0, last + 2 - _BLOCK, _BLOCK)] if last else []
        if [first for (first,) in found] != wanted:
            report.violations.append(f"{ship.slot}: blocks of {found}, not of {wanted}")
        report.counts["blocks"] = int(report.counts.get("blocks", 0)) + max(len(wanted) - 1, 0)

    async def _compare_calls(self, connection: Any, report: Report) -> None:
        """Calls that count as open are those without a terminal event."""
        wrong = await connection.fetchval(
            """
            SELECT count(*) FROM (SELECT audit_id FROM kubewitness.events WHERE kind = 'Event'
                                  GROUP BY audit_id HAVING NOT bool_or(terminal)) AS begun
              FULL JOIN kubewitness.open_calls AS open USING (audit_id)
             WHERE open.seq IS NULL OR begun IS NULL
            """
        )
        if wrong:
            report.violations.append(f"{wrong} calls are open in one table and not in the other")


async def compare_lines(
    connection: Any,
    slot: str,
    writer: str,
    expected: Iterator[tuple[int, bytes]],
    report: Report,
) -> int:
    """Compare the table's records of one writer with its journal; returns the table's last sequence."""
    found = _Kinds(report, slot)
    total, last, committed = 0, 0, None
    rows = connection.cursor(
        "SELECT seq, line, recorded_at FROM kubewitness.events WHERE writer = $1 ORDER BY seq, at",
        writer,
        prefetch=5000,
    )
    async for seq, line, recorded_at in rows:
        total += 1
        if seq == last:
            found.say("duplicate", f"sequence {seq} is there twice")
            continue
        last = seq
        for wanted, text in expected:
            if wanted == seq:
                if text != line:
                    found.say("altered", f"sequence {seq} is not as the journal has it")
                break
            found.say("lost", f"sequence {wanted} is missing")
        else:
            found.say("foreign", f"sequence {seq} is not in the journal")
        if committed is not None and recorded_at < committed:
            found.say("disorder", f"sequence {seq} was committed before those before it")
        committed = recorded_at
    for wanted, _ in expected:
        found.say("lost", f"sequence {wanted} is missing at the end")
    report.counts["records"] = int(report.counts.get("records", 0)) + total
    return last


class _Kinds:
    """Adds violations to a report, not too many of a kind."""

    def __init__(self, report: Report, slot: str) -> None:
        self._report = report
        self._slot = slot
        self._said: dict[str, int] = {}

    def say(self, kind: str, text: str) -> None:
        self._said[kind] = self._said.get(kind, 0) + 1
        name = f"{kind} records"
        self._report.counts[name] = int(self._report.counts.get(name, 0)) + 1
        if self._said[kind] <= _MOST:
            self._report.violations.append(f"{self._slot}: {text}")


@asynccontextmanager
async def site(
    seed: int, writers: int = 1, *, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Site]:
    """A server, a proxy before it, open journals; everything is gone afterwards."""
    server = await asyncio.to_thread(functools.partial(Postgres, settings=settings))
    try:
        await asyncio.to_thread(server.__enter__)
        with tempfile.TemporaryDirectory(prefix="database-rig-") as folder:
            async with FaultProxy(server.port, seed=seed) as proxy:
                made = Site(server, proxy, Path(folder), seed, writers)
                await made.prepare()
                try:
                    yield made
                finally:
                    await made.close_journals()
    finally:
        with suppress(*_QUIET):
            await asyncio.to_thread(server.close)
