"""What the rigs of the database share: a server that can be hurt, a journal, and a shipper between.

Journal, shipper and index are the product's own. The comparison is not: it reads the segments as
text and the table as an administrator sees it.
"""

import asyncio
import random
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg

from proxy.audit.event import (
    Call,
    ObjectRef,
    Progress,
    ResponseStatus,
    Stage,
    User,
    describe,
    new_id,
    stage,
)
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.upgrade import upgrading
from proxy.audit.index.shipping import Shipper
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import SystemClock
from proxy.metrics import Metrics
from proxy.settings import Journal
from proxy.tasks import cancel, spawn
from tests.faults.fault_proxy import FaultProxy
from tests.faults.report import Report
from tests.postgres import Database, Postgres

_LOGIN: Final = "kw_rig"
_LINE: Final = re.compile(rb'\{"seq":(\d+),')
_MOST: Final = 20
"""Violations that are kept of one kind: one broken batch can make thousands."""
_QUIET: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


def settings() -> Journal:
    """Of a journal of a rig: small segments, no reserve."""
    return Journal(segment_bytes=4 * 1024 * 1024, reserve_bytes=0, deadline=10.0)


class Calls:
    """Makes the two records of one call after another; ids differ, the rest does not."""

    def __init__(self) -> None:
        now = SystemClock.now()
        self._id = new_id(now)
        call = Call(
            audit_id=self._id,
            request_received_timestamp="2027-01-15T08:00:00.000000Z",
            source_ips=("10.0.0.1",),
            user=User("alice", groups=("dev",)),
            verb="create",
            http_method="POST",
            request_uri="/api/v1/namespaces/shop/pods",
            cluster="prod",
            call_class="mutate",
            object_ref=ObjectRef("pods", "shop", "web-0", "", "v1"),
        )
        self._intent = stage(describe(call), Stage.REQUEST_RECEIVED, now)
        progress = Progress(ResponseStatus(201))
        self._outcome = stage(describe(call), Stage.RESPONSE_COMPLETE, now, progress)
        self.made = 0

    def next(self) -> tuple[bytes, bytes]:
        """Intent and outcome of another call."""
        self.made += 1
        known, fresh = self._id.encode(), f"{self._id[:-12]}{self.made:012x}".encode()
        return self._intent.replace(known, fresh), self._outcome.replace(known, fresh)


class Site:
    """Everything in one directory and one server. Made by `site`."""

    def __init__(self, server: Postgres, proxy: FaultProxy, folder: Path, seed: int) -> None:
        self.server = server
        self.proxy = proxy
        self.data_dir = folder
        self.chance = random.Random(seed)
        self.metrics = Metrics()
        self.calls = Calls()
        self.acknowledged = 0
        """The last sequence that the index said it has committed."""
        self.journal: JournalWriter
        self.shipper: Shipper
        self._index: PostgresIndex
        self._running: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Set the database up as `kubewitness db upgrade` does."""
        self.database: Database = await asyncio.to_thread(self.server.create_database)
        await asyncio.to_thread(self.server.exec, f"CREATE ROLE {_LOGIN} LOGIN PASSWORD 'pw'")
        async with upgrading(self.database.url, [_LOGIN], lambda _: None):
            pass

    async def open_journal(self) -> None:
        """Begin writing, or go on."""
        self.journal = await JournalWriter.open(
            self.data_dir, "main", settings(), clock=SystemClock()
        )

    async def start(self, *, direct: bool = False) -> None:
        """Ship what the journal has and what comes, through the proxy or past it."""
        url = self.database.login(_LOGIN, "pw")
        self._index = await PostgresIndex.open(url if direct else self.proxy.url(url))
        self.shipper = Shipper(
            self.data_dir / "journal", self._index, clock=SystemClock(), metrics=self.metrics
        )
        # The rig has no time to wait as long after each failure.
        self.shipper.retry, self.shipper.gather = 0.01, 0.0
        self.shipper.on_indexed(self._indexed)
        self.journal.on_durable(self.shipper.wake)
        self._running = spawn(self.shipper.run(), name="shipper")

    async def stop(self) -> None:
        """Stop shipping."""
        await cancel(self._running)
        await self._index.close()

    def _indexed(self, writer: str, seq: int) -> None:
        del writer
        self.acknowledged = max(self.acknowledged, seq)

    async def progress(self, seconds: float) -> None:
        """Wait until the index has committed something more; so long at most."""
        before, deadline = self.acknowledged, time.monotonic() + seconds
        while self.acknowledged <= before and time.monotonic() < deadline:
            await asyncio.sleep(0.002)

    def write(self, calls: int) -> None:
        """Journal the records of so many calls."""
        for _ in range(calls):
            for record in self.calls.next():
                self.journal.post(record)

    async def level(self, report: Report, seconds: float) -> bool:
        """Wait until the index says that it has the whole journal; a violation when it does not."""
        last = max((seq for seq, _ in self.lines()), default=0)
        deadline = time.monotonic() + seconds
        while self.acknowledged < last:
            if time.monotonic() > deadline:
                report.violations.append(
                    f"the index stands at {self.acknowledged} of {last} after {seconds:.0f} s:"
                    f" {self.shipper.failure() or 'and says that all is well'}"
                )
                return False
            await asyncio.sleep(0.02)
        return True

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every record of the journal, as text."""
        for path in sorted((self.data_dir / "journal" / "main").glob("*.jsonl")):
            with path.open("rb") as file:
                for line in file:
                    if found := _LINE.match(line):
                        yield int(found[1]), line.rstrip(b"\n")

    async def highest(self) -> int:
        """The last sequence that the table has, asked past the proxy."""
        connection = await asyncpg.connect(self.database.url)
        try:
            found = await connection.fetchval("SELECT max(seq) FROM kubewitness.events")
            return int(found or 0)
        finally:
            await connection.close()

    async def compare(self, report: Report) -> None:
        """The table against the journal: nothing lost, doubled, altered or out of order."""
        connection = await asyncpg.connect(self.database.url)
        try:
            async with connection.transaction():
                await self._compare_lines(connection, report)
                await self._compare_calls(connection, report)
        finally:
            await connection.close()

    async def _compare_lines(self, connection: Any, report: Report) -> None:
        found = _Kinds(report)
        expected = self.lines()
        total, last, committed = 0, 0, None
        rows = connection.cursor(
            "SELECT seq, line, recorded_at FROM kubewitness.events ORDER BY seq, at", prefetch=5000
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
        report.counts["records"] = total

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


class _Kinds:
    """Adds violations to a report, not too many of a kind."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._said: dict[str, int] = {}

    def say(self, kind: str, text: str) -> None:
        self._said[kind] = self._said.get(kind, 0) + 1
        self._report.counts[f"{kind} records"] = self._said[kind]
        if self._said[kind] <= _MOST:
            self._report.violations.append(text)


@asynccontextmanager
async def site(seed: int, version: int = 16) -> AsyncIterator[Site]:
    """A server, a proxy before it, an open journal; everything is gone afterwards."""
    server = await asyncio.to_thread(Postgres, version)
    try:
        await asyncio.to_thread(server.__enter__)
        with tempfile.TemporaryDirectory(prefix="database-rig-") as folder:
            async with FaultProxy(server.port, seed=seed) as proxy:
                made = Site(server, proxy, Path(folder), seed)
                await made.prepare()
                await made.open_journal()
                try:
                    yield made
                finally:
                    await made.journal.close()
    finally:
        with suppress(*_QUIET):
            await asyncio.to_thread(server.close)
