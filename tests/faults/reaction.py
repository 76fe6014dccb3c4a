"""Reaction rig: the disk refuses. How fast are calls refused, is anything done, how fast it heals.

One proxy, under load, whose disk fails at random instants with a random error in a random
operation, for a random time. Every call sent meanwhile must be refused within 50 ms of the first
error and must not have reached the cluster; soon after the disk is back, calls go on.
"""

import errno
import statistics
import sys
import time
from typing import NamedTuple

from tests.faults.report import Report
from tests.faults.rigging import Proxy, Rig, rig

REFUSED_WITHIN_MS = 50.0
NOTICED_AFTER = 0.05
"""Seconds from the first error; a read may be under way while its intent is on the way to the disk,
but no later one."""
HEALED_WITHIN = 1.0
CI = 40
RELEASE = 2_000
_FAULTS = [
    (["sync", "create"], errno.EIO),
    (["write", "create"], errno.EIO),
    (["write", "create"], errno.ENOSPC),
    (["sync"], errno.EIO),
    (["write"], errno.EROFS),
    (["sync", "sync_directory"], errno.EIO),
]


class Seen(NamedTuple):
    """What the failures so far were like."""

    refused: list[float]
    """Milliseconds from a call, or from the first error, to its refusal."""
    healed: list[float]
    """Seconds."""
    aside: list[float]
    """Milliseconds that other processes had the proxy's processor."""


def run(times: int = CI, seed: int = 1, bug: str = "", seconds: float = 3600) -> Report:
    """Break the disk so many times, or until `seconds` are over."""
    report = Report("reaction", seed)
    with rig(report) as here:
        proxy = here.proxy()
        proxy.go(settings={"journal": {"segment_bytes": 1 << 20, "reserve_bytes": 0}}, bug=bug)
        here.oracle.answers = []
        here.clients("writes", 2, pause=0.004)
        here.clients("reads", 2, pause=0.004)
        here.under_way()
        seen = Seen([], [], [])
        began = time.monotonic()
        for _ in range(times):
            _once(here, proxy, seen)
            if here.oracle.violations or time.monotonic() - began > seconds:
                break
        here.processes.end_clients()
        if not here.oracle.violations:
            proxy.end()
            here.oracle.check(final=True)
        report.counts["failures"] = len(seen.healed)
        report.counts["refused calls"] = len(seen.refused)
        report.counts["machine busy elsewhere ms"] = round(sum(seen.aside), 1)
        if seen.refused:
            report.counts["refused after ms (median)"] = round(statistics.median(seen.refused), 2)
            report.counts["refused after ms (max)"] = round(max(seen.refused), 2)
            report.counts["healed after s (max)"] = round(max(seen.healed), 3)
    return report


def _once(here: Rig, proxy: Proxy, seen: Seen) -> None:
    """Break the disk, wait, heal it, wait for the first call that goes through."""
    oracle = here.oracle
    what, error = here.chance.choice(_FAULTS)
    before = proxy.ask("fail", what=what, errno=error)
    broken = before["at"]
    time.sleep(0.03 + here.chance.random() * 0.05)
    # Calls in flight now may be refused or not: they end on either side of the repair.
    until = time.monotonic()
    time.sleep(0.01)
    assert oracle.answers is not None
    oracle.answers.clear()
    oracle.hear()
    after = proxy.ask("heal")
    # What the machine did not give us while a call waited is not the proxy's doing.
    machine = after["pushed_aside_ms"] - before["pushed_aside_ms"]
    seen.aside.append(machine)
    _refused(here, (broken, after["failed_at"], until), machine, seen.refused)
    seen.healed.append(here.good_after(broken, after["at"]))
    if seen.healed[-1] > HEALED_WITHIN:
        oracle.violations.say(f"calls go on only {seen.healed[-1]:.2f} s after the disk was back")


def _refused(
    here: Rig, when: tuple[float, float, float], machine: float, refused: list[float]
) -> None:
    """Look at what the clients were told of calls they sent while the disk was broken.

    `when` tells since when it was, when it first said so, and the end; `machine` the milliseconds
    that others had the processor.
    """
    oracle = here.oracle
    broken, failed, until = when
    assert oracle.answers is not None
    for told in oracle.answers:
        if told.status == 503 and not told.withheld and told.target in oracle.effects_of:
            oracle.violations.say(f"{told.target}: refused, and executed")
        if not broken < told.began < until:
            continue
        if told.target in oracle.effects_of:
            oracle.violations.say(f"{told.target}: sent when the disk was broken, and executed")
        if told.began > max(broken, failed) + NOTICED_AFTER and told.target in oracle.arrived:
            oracle.violations.say(f"{told.target}: passed on although the gate was closed")
        if told.status != 503:
            oracle.violations.say(
                f"{told.target}: answered {told.status} {1000 * (told.began - broken):.0f} ms after "
                "the disk broke"
            )
        # A disk that is busy, and has refused nothing yet, is waited for.
        waited = told.ms - max(0.0, failed - told.began) * 1000
        refused.append(waited)
        if waited > REFUSED_WITHIN_MS + machine:
            oracle.violations.say(f"{told.target}: refused only after {waited:.0f} ms")


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else CI))
