"""Full disk rig: a small volume is filled under load, and freed again.

While it is full, everybody is refused and nothing is forwarded, but for the break-glass group,
which goes on from the reserve; once there is space, everybody goes on, without a restart.
"""

import sys
import time
from dataclasses import dataclass

from tests.faults.report import Report
from tests.faults.rigging import Proxy, Rig, rig
from tests.faults.scene import BREAK_GLASS
from tests.faults.volumes import Volume

HEALED_WITHIN = 1.0
FULL_WITHIN = 30.0


@dataclass(frozen=True)
class Size:
    """How much."""

    volume: int
    """MiB."""
    reserve: int
    """MiB."""
    records: int
    """Break-glass records to be written while it is full."""
    times: int
    segment: int = 1 << 20
    """Bytes."""
    wardens: int = 6
    """Clients that break the glass."""


CI = Size(volume=32, reserve=8, records=800, times=2)
TINY = Size(volume=2, reserve=1, records=60, times=2, segment=1 << 16, wardens=2)
RELEASE = Size(volume=256, reserve=64, records=10_000, times=5)


def run(size: Size = CI, seed: int = 1, bug: str = "") -> Report:
    """Fill it and free it so many times."""
    report = Report("full disk", seed)
    with rig(report) as here, Volume.tmpfs(here.scene, size.volume) as volume:
        oracle = here.oracle
        oracle.move(volume.seen(here.scene.journal))
        oracle.answers = []
        proxy = here.started(volume.enter)
        journal = {
            "segment_bytes": size.segment,
            "reserve_bytes": size.reserve << 20,
            "break_glass_group": BREAK_GLASS,
        }
        proxy.go(settings={"journal": journal}, bug=bug, breakable=False)
        here.clients("writes", 2, pause=0.005)
        here.clients("reads", 1, pause=0.005)
        here.clients("small", size.wardens, user="warden", pause=0.002)
        here.under_way(20)
        healed: list[float] = []
        records: list[int] = []
        for _ in range(size.times):
            if not oracle.violations:
                _once(here, proxy, volume, size, healed, records)
        here.processes.end_clients()
        if not oracle.violations:
            proxy.end()
            # A reserve that ran out may have left outcomes unwritten: the next start closes them.
            successor = here.started(volume.enter)
            successor.go(settings={"journal": journal}, breakable=False)
            successor.end()
            oracle.check(final=True)
        report.counts |= {"fills": len(healed), "volume MiB": size.volume}
        report.counts["break-glass records (least)"] = min(records, default=0)
        report.counts["healed after s (max)"] = round(max(healed, default=0), 3)
    return report


def _once(
    here: Rig, proxy: Proxy, volume: Volume, size: Size, healed: list[float], records: list[int]
) -> None:
    oracle = here.oracle
    assert oracle.answers is not None
    noticed = _fill(here, proxy, volume)
    if not noticed:
        oracle.violations.say(f"nobody was refused within {FULL_WITHIN:g} s on a full disk")
        return
    # Two records and an announcement each: what the wardens did is counted from their answers.
    written = 0
    deadline = time.monotonic() + 120
    while written < size.records and time.monotonic() < deadline and not oracle.violations:
        time.sleep(0.05)
        volume.fill()
        written += 3 * _full(here, noticed, size.records - written)
    if written < size.records:
        oracle.violations.say(f"only {written} break-glass records while the disk was full")
    records.append(written)
    aside, before = proxy.ask("status")["pushed_aside_ms"], time.monotonic()
    volume.free()
    healed.append(here.good_after(before, time.monotonic(), user="a"))
    # What the machine did not give us meanwhile is not the proxy's doing.
    machine = (proxy.ask("status")["pushed_aside_ms"] - aside) / 1000
    if healed[-1] > HEALED_WITHIN + machine:
        oracle.violations.say(f"calls go on only {healed[-1]:.2f} s after there was space")


def _fill(here: Rig, proxy: Proxy, volume: Volume) -> float:
    """Take the space, again and again, until calls are refused; returns when that was."""
    began = time.monotonic()
    while time.monotonic() < began + FULL_WITHIN:
        volume.fill()
        status = proxy.ask("status")
        if status["failure"]:
            time.sleep(0.1)
            here.oracle.hear()
            assert here.oracle.answers is not None
            here.oracle.answers.clear()
            return float(status["at"])
        time.sleep(0.02)
    return 0.0


def _full(here: Rig, noticed: float, wanted: int) -> int:
    """Look at the answers since the last look; returns how many break-glass calls went through.

    Those that had `wanted` records before them may find the reserve used up.
    """
    oracle = here.oracle
    assert oracle.answers is not None
    oracle.hear()
    through = 0
    for told in oracle.answers:
        if told.began < noticed:
            continue
        warden = told.user == "w"
        if not warden and told.status != 503:
            oracle.violations.say(f"{told.target}: answered {told.status} on a full disk")
        if not warden and told.target in oracle.arrived:
            oracle.violations.say(f"{told.target}: refused on a full disk, and passed on")
        if warden and told.status >= 300 and 3 * through >= wanted:
            continue
        if warden and told.status >= 300:
            oracle.violations.say(f"{told.target}: break-glass, and answered {told.status}")
        through += warden
    oracle.answers.clear()
    return through


if __name__ == "__main__":
    print(run(RELEASE if sys.argv[1:] == ["release"] else CI))
