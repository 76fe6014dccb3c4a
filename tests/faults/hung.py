"""Hung disk rig: a sync does not return. Nobody waits past the deadline, nothing grows, it heals.

Two ways to hang it: a storage whose sync blocks, and, for root, an ext4 of its own that is frozen
(fsfreeze(8)), where the kernel really holds the journal's thread.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from proxy.audit.event import WITHHELD
from tests.faults.oracle import Oracle
from tests.faults.report import Report
from tests.faults.rigging import Proxy, Rig, rig
from tests.faults.volumes import Volume, frozen, is_root

NEEDS_ROOT = "freezing a file system needs root; run the rig as root"
DEADLINE = 1.0
SLACK = 0.05
STALL_MS = SLACK * 1000
"""Longer, and whoever waits meanwhile is told of the deadline too late."""
GROWTH = 80 * 1024 * 1024
"""Bytes: the journal's queue (64 MiB) may fill, and a little more."""
HEALED_WITHIN = 1.0
CI = 5.0
RELEASE = 600.0


@dataclass(frozen=True)
class Hanging:
    """How something is hung, and let go again."""

    what: str
    hang: Callable[[], object]
    free: Callable[[], object]
    volume: Volume | None = None


def run(seconds: float = CI, seed: int = 1, bug: str = "") -> Report:
    """Hang the storage's syncs for so long."""
    report = Report("hung disk", seed)
    with rig(report) as here:
        proxy = here.proxy()
        proxy.go(settings={"journal": {"reserve_bytes": 0}}, bug=bug)
        held = Hanging("disk", lambda: proxy.ask("hold"), lambda: proxy.ask("heal"))
        blackhole(here, proxy, report, seconds, held)
    return report


def run_frozen(seconds: float = 3.0, seed: int = 1) -> Report:
    """Freeze the file system under the journal for so long; needs root."""
    report = Report("frozen ext4", seed)
    if not is_root():
        report.violations.append(NEEDS_ROOT)
        return report
    with rig(report) as here, Volume.ext4(here.scene, 256) as volume:
        proxy = here.started(volume.enter)
        proxy.go(settings={"journal": {"reserve_bytes": 0}}, breakable=False)
        with frozen(volume) as (freeze, thaw):
            blackhole(here, proxy, report, seconds, Hanging("disk", freeze, thaw, volume))
    return report


def blackhole(here: Rig, proxy: Proxy, report: Report, seconds: float, hanging: Hanging) -> None:
    """Hang it under load for so long, and let it go; see the module for what must hold."""
    oracle = here.oracle
    if hanging.volume is not None:
        oracle.move(hanging.volume.seen(here.scene.journal))
    oracle.answers = []
    here.clients("mixed", 6, pause=0.02)
    here.clients("writes", 2, pause=0.02)
    here.under_way()
    before = proxy.ask("status")
    hanging.hang()
    began = time.monotonic()
    grown, stall, slowest = 0, 0.0, 0.0
    aside = [before["pushed_aside_ms"]] * 6
    refused: set[str] = set()
    while time.monotonic() < began + seconds and not oracle.violations:
        time.sleep(0.25)
        status = proxy.ask("status")
        aside = [*aside[1:], status["pushed_aside_ms"]]
        grown = max(grown, status["rss"] - before["rss"])
        stall = max(stall, status["stall_ms"])
        # What the machine did not give us while a call waited is not the proxy's doing.
        machine = (aside[-1] - aside[0]) / 1000
        slowest = max(slowest, _heard(here, began, machine, refused, hanging.what))
    status = proxy.ask("status")
    hanging.free()
    freed = time.monotonic()
    healed = here.good_after(freed, freed)
    machine = (proxy.ask("status")["pushed_aside_ms"] - status["pushed_aside_ms"]) / 1000
    here.processes.end_clients()
    report.counts |= {
        "blackhole s": round(seconds, 1),
        "slowest answer ms": round(slowest, 1),
        "loop stall ms (max)": round(stall, 1),
        "machine busy elsewhere ms": round(aside[-1] - before["pushed_aside_ms"], 1),
        "grown MiB (max)": round(grown / 2**20, 1),
        "healed after s": round(healed, 3),
    }
    if stall > STALL_MS:
        oracle.violations.say(f"the loop stood still for {stall:.0f} ms")
    if grown > GROWTH:
        oracle.violations.say(f"it grew by {grown / 2**20:.0f} MiB")
    if healed > HEALED_WITHIN + machine:
        oracle.violations.say(f"calls go on only {healed:.2f} s after the {hanging.what} was back")
    if not oracle.violations:
        proxy.end()
        oracle.check(final=True)
        report.counts["outcomes corrected"] = _corrected(oracle, refused)


def _corrected(oracle: Oracle, refused: set[str]) -> int:
    """Calls whose outcome was written after their client was told 503: a record must say so."""
    refused |= {told.audit_id for told in oracle.answers or [] if told.status == 503}
    said = {
        record["target"]: record["detail"]
        for record in oracle.system
        if record["action"] == WITHHELD
    }
    for audit_id in refused & oracle.calls.keys():
        status = oracle.calls[audit_id].status
        told = said.get(audit_id, {}).get("answered", status)
        if told != 503:
            oracle.violations.say(f"{audit_id}: answered 503, on record as {status} for ever")
    return len(said)


def _heard(here: Rig, began: float, machine: float, refused: set[str], what: str) -> float:
    """The slowest answer since the last look; none may take longer than the deadline."""
    oracle = here.oracle
    assert oracle.answers is not None
    now = time.monotonic()
    late = {name for name, since in here.waiting() if now - since > DEADLINE + 1 + machine}
    oracle.hear()
    slowest = 0.0
    for told in oracle.answers:
        if told.began + told.ms / 1000 < began or "watch=true" in told.target:
            continue
        # What a call took before is no waiting: a record in a database has its time, too.
        waited = told.ms - max(began - told.began, 0) * 1000
        slowest = max(slowest, waited)
        if waited > (DEADLINE + SLACK + machine) * 1000:
            oracle.violations.say(f"{told.target}: waited {waited:.0f} ms")
        if told.status != 503 and told.began > began + SLACK:
            oracle.violations.say(f"{told.target}: answered {told.status} while the {what} hung")
    refused |= {told.audit_id for told in oracle.answers if told.status == 503}
    oracle.answers.clear()
    for target, since in here.waiting():
        if target in late:
            oracle.violations.say(f"{target}: no answer after {now - since:.1f} s")
    return slowest


if __name__ == "__main__":
    print(run(float(sys.argv[1]) if len(sys.argv) > 1 else CI))
    print(run_frozen())
