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
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from proxy.tasks import cancel, spawn
from tests.faults.database_site import Site, site
from tests.faults.fault_proxy import Mode
from tests.faults.report import Report

_SHARE: Final = 0.6
"""Of all COMMITs that are cut: some steps get through at once, some only at the third attempt."""
_OTHERS: Final = 0.2
"""Chance, each tenth of a second, that a connection is cut in the middle of anything else."""
_MUCH: Final = 60
"""Calls that the first writer journals at once, at most: enough to fill blocks in a long run."""
_LITTLE: Final = 3
"""The same of the other writers: what a reconnect reads again stays short."""
_STREAMS: Final = 3
"""Writers while the server is stopped."""
_STARTS: Final = {"recovery_init_sync_method": "syncfs"}
"""A start after a crash syncs every file of the server; this does it with one call."""
_HOUR: Final = 3_600
STEADY: Final = 1_000
"""Calls a second that go on while the index catches up."""
DRAIN: Final = 20_000
"""Events a second with which an outage must be made up for."""


@dataclass(frozen=True)
class Size:
    """How much."""

    cuts: int
    stops: int
    calls: int
    """Whose records are journaled while the database is away, as fast as the disk takes them."""
    writers: int
    """That ship at the same time, each its own journal, where connections are cut."""
    seconds: float
    """Each rig stops early after so long; the counts say how far it came."""
    level: float = 20.0
    """Seconds after which an index that is well again must be level with the journal."""
    whole: bool = False
    """Whether all of it must be done, and the drain reach its figure."""


CI = Size(cuts=150, stops=25, calls=20_000, writers=8, seconds=25)
RELEASE = Size(
    *(10_000, 1_000, 1_000 * _HOUR),
    writers=16,
    seconds=3 * _HOUR,
    level=120,
    whole=True,
)


async def commit_cuts(size: Size = CI, seed: int | None = None) -> Report:
    """Connections are cut at their COMMIT, and now and then in the middle of anything else."""
    report = _report("database: cuts at COMMIT", seed)
    async with _rig(report, size, size.writers) as here:
        here.proxy.cut_commits(_SHARE)
        began, others = time.monotonic(), 0
        async with _load(here):
            while _cuts(here) < size.cuts and time.monotonic() - began < size.seconds:
                await asyncio.sleep(here.chance.uniform(0.0, 0.2))
                if here.chance.random() < _OTHERS:
                    others += here.proxy.cut(1)
        report.counts["other cuts"] = others
        report.counts["cuts/s"] = round(_cuts(here) / (time.monotonic() - began), 1)
        here.proxy.at_commits(lambda _: None)
        report.counts |= {f"cut {kind}": count for kind, count in sorted(here.proxy.counts.items())}
        report.counts["cuts"] = _cuts(here)
        if size.whole and _cuts(here) < size.cuts:
            report.violations.append(f"only {_cuts(here)} of {size.cuts} cuts were made")
    return report


async def immediate_stops(size: Size = CI, seed: int | None = None) -> Report:
    """The server is stopped at once, or killed whole, while records stream; and started again."""
    report = _report("database: immediate stops", seed)
    async with _rig(report, size, _STREAMS, settings=_STARTS) as here:
        began = time.monotonic()
        stops = 0
        async with _load(here):
            while stops < size.stops and time.monotonic() - began < size.seconds:
                await here.progress(5)
                await asyncio.sleep(here.chance.uniform(0.0, 0.06))
                if not await _stop_once(here, report, kill=stops % 2 == 1):
                    break
                stops += 1
        report.counts["stops"] = stops
        if size.whole and stops < size.stops:
            report.violations.append(f"only {stops} of {size.stops} stops were made")
        report.counts["seconds a stop"] = round((time.monotonic() - began) / max(stops, 1), 3)
    return report


async def _stop_once(here: Site, report: Report, *, kill: bool) -> bool:
    """End the server in the middle and start it; whether it has all it said it committed."""
    # Nobody may bring back what is lost before we have looked.
    await here.proxy.set_mode(Mode.REFUSE)
    promised = here.acknowledged()
    await asyncio.to_thread(here.server.kill if kill else lambda: here.server.stop("immediate"))
    await asyncio.to_thread(here.server.start)
    kept = await here.highest()
    await here.proxy.set_mode(Mode.PASS)
    lost = sum(max(0, seq - kept[writer]) for writer, seq in promised.items())
    if lost:
        report.violations.append(f"{lost} records that were called committed are gone")
    return not lost


async def outage(size: Size = CI, seed: int | None = None) -> Report:
    """The database is away while many calls are journaled; then it has to catch up.

    An hour's volume at release size, not an hour's time: it is written at once. While the index
    catches up, calls go on.
    """
    report = _report("database: outage", seed)
    async with _rig(report, size, 1, direct=True) as here:
        await asyncio.to_thread(here.server.stop)
        began = time.monotonic()
        await _journal(here, size.calls)
        report.counts["journaled records/s"] = round(2 * size.calls / (time.monotonic() - began))
        await asyncio.sleep(2.5)  # the lag is measured every second
        report.counts["lag at the end of the outage"] = lag = _lag(here)
        if lag < 2 * size.calls:
            report.violations.append(f"the lag is shown as {lag} of {2 * size.calls} records")
        if not here.ship.shipper.failure():
            report.violations.append("nothing says that the database is away")
        await _drain(here, size, report)
    return report


async def _drain(here: Site, size: Size, report: Report) -> None:
    """Calls go on meanwhile, and the lag falls all the same: to what they make within a moment."""
    before = here.ship.acknowledged
    last = 2 * size.calls
    await asyncio.to_thread(here.server.start)
    began = time.monotonic()
    seen = [_lag(here)]
    steady = spawn(_steadily(here), name="calls meanwhile")
    try:
        while here.ship.acknowledged < last and time.monotonic() - began < size.seconds:
            await asyncio.sleep(0.05)
            if (lag := _lag(here)) != seen[-1]:
                seen.append(lag)
        seconds = time.monotonic() - began
    finally:
        await cancel(steady)
    rate = (here.ship.acknowledged - before) / seconds
    report.counts["drained records/s"] = round(rate)
    report.counts["drain seconds"] = round(seconds, 1)
    report.counts["calls meanwhile"] = here.ship.calls.made - size.calls
    if any(later > earlier + 2 * STEADY for earlier, later in itertools.pairwise(seen)):
        report.violations.append(f"the lag does not fall: {seen}")
    if size.whole and rate < DRAIN:
        report.violations.append(f"drained at {rate:.0f} records/s, {DRAIN} are asked for")


async def _steadily(here: Site) -> None:
    """`STEADY` calls a second."""
    while True:
        here.ship.write(STEADY // 100)
        await asyncio.sleep(0.01)


async def restored_journal(size: Size = CI, seed: int | None = None) -> Report:
    """A journal restored from an older copy writes other records under the same sequences."""
    report = _report("database: restored journal", seed)
    async with site(report.seed) as here:
        here.ship.write(50)
        await here.ship.journal.close()
        older = here.data_dir / "older"
        shutil.copytree(here.data_dir / "journal", older)
        await here.ship.open_journal()
        await here.start()
        here.ship.write(50)
        await here.ship.journal.close()
        await here.level(report, size.level)
        await here.compare(report)
        await here.stop()
        shutil.rmtree(here.data_dir / "journal")
        older.rename(here.data_dir / "journal")
        await here.ship.open_journal()
        here.ship.write(80)
        await here.start()
        deadline = time.monotonic() + 5
        while not here.ship.shipper.failure() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        report.counts["said"] = here.ship.shipper.failure()[:60]
        if "other records" not in here.ship.shipper.failure():
            report.violations.append("a journal restored from an older copy is not noticed")
        await here.stop()
    return report


@contextlib.asynccontextmanager
async def _rig(
    report: Report,
    size: Size,
    writers: int,
    *,
    direct: bool = False,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Site]:
    """A site that ships; afterwards the server is well and everything is compared."""
    began = time.monotonic()
    # Each failure that we bring about would be logged.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        async with site(report.seed, writers, settings=settings) as here:
            await here.start(direct=direct)
            try:
                yield here
                await here.close_journals()
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
    tasks = [
        spawn(ship.load(_LITTLE if number else _MUCH), name=f"load {ship.slot}")
        for number, ship in enumerate(here.ships)
    ]
    try:
        yield
    finally:
        for task in tasks:
            await cancel(task)


async def _journal(here: Site, calls: int) -> None:
    """As fast as the disk takes them."""
    left = calls
    while left:
        piece = min(left, 1_000)
        here.ship.write(piece - 1)
        intent, outcome = here.ship.calls.next()
        here.ship.journal.post(intent)
        await here.ship.journal.append(outcome)
        left -= piece


def _cuts(here: Site) -> int:
    return sum(here.proxy.counts[kind] for kind in ("before", "race", "after", "midway"))


def _lag(here: Site) -> int:
    value = here.ship.metrics.registry.get_sample_value("kubewitness_index_lag_records")
    assert value is not None
    return int(value)


def _report(name: str, seed: int | None) -> Report:
    return Report(name, random.SystemRandom().randrange(10**6) if seed is None else seed)


RIGS: Final = (commit_cuts, immediate_stops, outage, restored_journal)

if __name__ == "__main__":
    for rig in RIGS:
        if len(sys.argv) < 2 or rig.__name__ in sys.argv[1:]:
            print(asyncio.run(rig()))
