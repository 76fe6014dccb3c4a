"""Rigs of the database: cut at the COMMIT, stopped at random, away for long, and restored journals.

What must hold after each: every record of the journal is in the table exactly once, byte for byte,
in order; and what the index called committed was still there after each crash.
"""

import asyncio
import contextlib
import itertools
import logging
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import structlog

from proxy.tasks import cancel, spawn
from tests.faults.database_site import Site, site
from tests.faults.fault_proxy import Mode
from tests.faults.report import Report

_SHARE: Final = 0.4
"""Of all COMMITs that are cut: some steps get through at once, some only at the third attempt."""
_HOUR: Final = 3_600
DRAIN: Final = 20_000
"""Events a second with which an outage must be made up for."""


@dataclass(frozen=True)
class Size:
    """How much."""

    cuts: int
    stops: int
    calls: int
    """Journaled while the database is away."""
    seconds: float
    """Each rig stops early after so long; the counts say how far it came."""
    level: float = 20.0
    """Seconds after which an index that is well again must be level with the journal."""
    fast: bool = False
    """Whether the drain must reach its figure."""


CI = Size(cuts=100, stops=15, calls=20_000, seconds=25)
RELEASE = Size(
    cuts=10_000, stops=1_000, calls=1_000 * _HOUR, seconds=3 * _HOUR, level=120, fast=True
)


async def commit_cuts(size: Size = CI, seed: int | None = None) -> Report:
    """Connections are cut at their COMMIT, and now and then in the middle of anything else."""
    report = _report("database: cuts at COMMIT", seed)
    async with _rig(report, size) as here:
        here.proxy.cut_commits(_SHARE)
        began = time.monotonic()
        async with _load(here):
            while _cuts(here) < size.cuts and time.monotonic() - began < size.seconds:
                await asyncio.sleep(here.chance.uniform(0.0, 0.2))
                if here.chance.random() < 0.1:
                    report.counts["other cuts"] = (
                        int(report.counts.get("other cuts", 0)) + here.proxy.cut()
                    )
        here.proxy.at_commits(lambda _: None)
        report.counts |= {f"cut {kind}": count for kind, count in sorted(here.proxy.counts.items())}
        report.counts["cuts"] = _cuts(here)
    return report


async def immediate_stops(size: Size = CI, seed: int | None = None) -> Report:
    """The server is stopped at once, or killed whole, while records stream; and started again."""
    report = _report("database: immediate stops", seed)
    async with _rig(report, size) as here:
        began = time.monotonic()
        stops = 0
        async with _load(here):
            while stops < size.stops and time.monotonic() - began < size.seconds:
                await here.progress(5)
                await asyncio.sleep(here.chance.uniform(0.0, 0.06))
                # Nobody may bring back what is lost before we have looked.
                await here.proxy.set_mode(Mode.REFUSE)
                promised = here.acknowledged
                end = here.server.kill if stops % 2 else lambda: here.server.stop("immediate")
                await asyncio.to_thread(end)
                await asyncio.to_thread(here.server.start)
                stops += 1
                if (kept := await here.highest()) < promised:
                    report.violations.append(
                        f"{promised - kept} records that were called committed are gone"
                    )
                    break
                await here.proxy.set_mode(Mode.PASS)
        await here.proxy.set_mode(Mode.PASS)
        report.counts["stops"] = stops
        report.counts["seconds a stop"] = round((time.monotonic() - began) / max(stops, 1), 3)
    return report


async def outage(size: Size = CI, seed: int | None = None) -> Report:
    """The database is away while many calls are journaled; then it has to catch up."""
    report = _report("database: outage", seed)
    async with _rig(report, size, direct=True) as here:
        await asyncio.to_thread(here.server.stop)
        began = time.monotonic()
        await _journal(here, size.calls)
        report.counts["journaled records/s"] = round(2 * size.calls / (time.monotonic() - began))
        await asyncio.sleep(2.5)  # the lag is measured every second
        report.counts["lag at the end of the outage"] = lag = _lag(here)
        if lag < 2 * size.calls:
            report.violations.append(f"the lag is shown as {lag} of {2 * size.calls} records")
        if not here.shipper.failure():
            report.violations.append("nothing says that the database is away")
        await _drain(here, size, report)
    return report


async def _drain(here: Site, size: Size, report: Report) -> None:
    before = here.acknowledged
    last = 2 * size.calls
    await asyncio.to_thread(here.server.start)
    began = time.monotonic()
    seen = [_lag(here)]
    while here.acknowledged < last and time.monotonic() - began < size.seconds:
        await asyncio.sleep(0.05)
        if (lag := _lag(here)) != seen[-1]:
            seen.append(lag)
    seconds = time.monotonic() - began
    rate = (here.acknowledged - before) / seconds
    report.counts["drained records/s"] = round(rate)
    report.counts["drain seconds"] = round(seconds, 1)
    if any(later > earlier for earlier, later in itertools.pairwise(seen)):
        report.violations.append(f"the lag does not fall: {seen}")
    if size.fast and rate < DRAIN:
        report.violations.append(f"drained at {rate:.0f} records/s, {DRAIN} are asked for")


async def restored_journal(size: Size = CI, seed: int | None = None) -> Report:
    """A journal restored from an older copy writes other records under the same sequences."""
    report = _report("database: restored journal", seed)
    async with site(report.seed) as here:
        here.write(50)
        await here.journal.close()
        older = here.data_dir / "older"
        shutil.copytree(here.data_dir / "journal", older)
        await here.open_journal()
        await here.start()
        here.write(50)
        await here.journal.close()
        await here.level(report, size.level)
        await here.compare(report)
        await here.stop()
        shutil.rmtree(here.data_dir / "journal")
        older.rename(here.data_dir / "journal")
        await here.open_journal()
        here.write(80)
        await here.start()
        deadline = time.monotonic() + 5
        while not here.shipper.failure() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        report.counts["said"] = here.shipper.failure()[:60]
        if "other records" not in here.shipper.failure():
            report.violations.append("a journal restored from an older copy is not noticed")
        await here.stop()
    return report


@contextlib.asynccontextmanager
async def _rig(report: Report, size: Size, *, direct: bool = False) -> AsyncIterator[Site]:
    """A site that ships; afterwards the server is well and everything is compared."""
    began = time.monotonic()
    # Each failure that we bring about would be logged.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        async with site(report.seed) as here:
            await here.start(direct=direct)
            try:
                yield here
                await here.journal.close()
                if not report.violations:
                    await here.level(report, size.level)
                await here.compare(report)
            finally:
                await here.stop()
    finally:
        structlog.reset_defaults()
    report.counts["seconds"] = round(time.monotonic() - began, 1)


@contextlib.asynccontextmanager
async def _load(here: Site) -> AsyncIterator[None]:
    """Records keep coming."""

    async def write() -> None:
        while True:
            here.write(here.chance.randrange(1, 12))
            await asyncio.sleep(0.004)

    task = spawn(write(), name="load")
    try:
        yield
    finally:
        await cancel(task)


async def _journal(here: Site, calls: int) -> None:
    """As fast as the disk takes them."""
    left = calls
    while left:
        piece = min(left, 1_000)
        here.write(piece - 1)
        intent, outcome = here.calls.next()
        here.journal.post(intent)
        await here.journal.append(outcome)
        left -= piece


def _cuts(here: Site) -> int:
    return sum(here.proxy.counts[kind] for kind in ("before", "race", "after", "midway"))


def _lag(here: Site) -> int:
    value = here.metrics.registry.get_sample_value("kubewitness_index_lag_records")
    assert value is not None
    return int(value)


def _report(name: str, seed: int | None) -> Report:
    return Report(name, random.SystemRandom().randrange(10**6) if seed is None else seed)


RIGS: Final = (commit_cuts, immediate_stops, outage, restored_journal)

if __name__ == "__main__":
    for rig in RIGS:
        if len(sys.argv) < 2 or rig.__name__ in sys.argv[1:]:
            print(asyncio.run(rig()))
