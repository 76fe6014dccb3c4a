"""One writer of a rig of the database: its journal, and the shipper that carries it.

Journal, shipper and index are the product's own; what the journal holds is read back as text.
"""

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

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
from proxy.audit.index.shipping import Shipper
from proxy.audit.journal.instance import writer_id
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import SystemClock
from proxy.metrics import Metrics
from proxy.settings import Journal
from proxy.tasks import cancel, spawn
from tests.faults.report import Report

_LINE: Final = re.compile(rb'\{"seq":(\d+),')
_BACKLOGS: Final = (0, 0, 4, 16)
"""Records that may wait to be shipped when more are written: steps are of all sizes."""
_LONGEST: Final = 2.0
"""Seconds after which more are written in any case: a second attempt has more than the first."""


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


class Ship:
    """One writer. Its journal is open after `open_journal`, and shipped after `start`."""

    def __init__(self, folder: Path, slot: str, chance: random.Random) -> None:
        self.slot = slot
        self.metrics = Metrics()
        self.calls = Calls()
        self.acknowledged = 0
        """The last sequence that the index said it has committed."""
        self.journal: JournalWriter
        self.shipper: Shipper
        self._folder = folder
        self._chance = chance
        self._index: PostgresIndex
        self._running: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    @property
    def writer(self) -> str:
        """The writer's id."""
        return writer_id(self._folder, self.slot)

    async def open_journal(self) -> None:
        """Begin writing, or go on."""
        self.journal = await JournalWriter.open(
            self._folder, self.slot, settings(), clock=SystemClock()
        )

    async def start(self, url: str) -> None:
        """Ship to the index at `url` what the journal has and what comes."""
        self._index = await PostgresIndex.open(url)
        self.shipper = Shipper(
            self._folder / "journal",
            self._index,
            clock=SystemClock(),
            metrics=self.metrics,
            carries=lambda slot: slot == self.slot,
        )
        # The rig has no time to wait as long after each failure.
        self.shipper.retry, self.shipper.gather = 0.01, 0.0
        self.shipper.on_indexed(self._indexed)
        self.journal.on_durable(self.shipper.wake)
        self._running = spawn(self.shipper.run(), name=f"shipper {self.slot}")

    async def stop(self) -> None:
        """Stop shipping."""
        await cancel(self._running)
        await self._index.close()

    def _indexed(self, writer: str, seq: int) -> None:
        assert writer == self.writer
        self.acknowledged = max(self.acknowledged, seq)
        self._moved.set()

    def write(self, calls: int) -> None:
        """Journal the records of so many calls."""
        for _ in range(calls):
            for record in self.calls.next():
                self.journal.post(record)

    async def load(self, most: int) -> None:
        """Keep records coming, of up to `most` calls at once, hardly faster than they are shipped.

        Were they to come faster, steps would grow and commits become few.
        """
        while True:
            self.write(self._chance.randrange(1, most + 1))
            await asyncio.sleep(0.002)  # they become durable
            backlog = self._chance.choice(_BACKLOGS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0.01, _LONGEST)):
                    await self._behind_at_most(backlog)

    async def _behind_at_most(self, records: int) -> None:
        while self.journal.durable - self.acknowledged > records:
            self._moved.clear()
            await self._moved.wait()

    async def level(self, report: Report, seconds: float) -> bool:
        """Wait until the index says that it has the whole journal; a violation when it does not."""
        last = max((seq for seq, _ in self.lines()), default=0)
        deadline = time.monotonic() + seconds
        while self.acknowledged < last:
            if time.monotonic() > deadline:
                report.violations.append(
                    f"the index stands at {self.acknowledged} of {last} of {self.slot} after"
                    f" {seconds:.0f} s: {self.shipper.failure() or 'and says that all is well'}"
                )
                return False
            await asyncio.sleep(0.02)
        return True

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every record of the journal, as text."""
        return journal_lines(self._folder / "journal" / self.slot)


def journal_lines(directory: Path) -> Iterator[tuple[int, bytes]]:
    """Every record of a journal that no crash has touched, as text, in order."""
    for path in sorted(directory.glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                if found := _LINE.match(line):
                    yield int(found[1]), line.rstrip(b"\n")
