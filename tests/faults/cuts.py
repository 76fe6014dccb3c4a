"""Client cuts rig: clients leave in every phase of a call; each call ends exactly once on record."""

import sys
import time
from collections import Counter

from tests.faults.cutter import PHASES
from tests.faults.oracle import Oracle, Tail
from tests.faults.report import Report
from tests.faults.rigging import rig

CI = 1_600
RELEASE = 100_100
THREADS = 6
SETTLED_WITHIN = 5.0
"""Seconds after the last cut until every call must have its end on record, in good order."""


def run(count: int = CI, seed: int = 1, bug: str = "") -> Report:
    """Cut so many clients; then look, while the proxy still runs, and again when it has ended."""
    report = Report("client cuts", seed)
    with rig(report) as here:
        proxy = here.proxy()
        proxy.go(settings={"journal": {"reserve_bytes": 0}}, bug=bug, breakable=False)
        log = here.scene.directory / "cuts.log"
        log.touch()
        here.oracle.watch(log)
        told = Tail(log)
        cutter = here.processes.start(
            [
                "tests.faults.cutter",
                *(str(here.scene.directory), str(here.port), str(log)),
                *(str(seed), str(THREADS), str(count)),
            ]
        )
        assert cutter.stdout is not None
        if cutter.stdout.readline().strip() != "done":
            here.oracle.violations.say("the clients ended before their time")
        time.sleep(0.2)
        _settle(here.oracle)
        proxy.end()
        here.oracle.check(final=True)
        cuts = Counter(line.split()[1] for line in told.lines() if line.startswith("C "))
        report.counts["cuts"] = cuts.total()
        report.counts |= {f"cut in {phase}": cuts[phase] for phase in PHASES}
        report.counts["calls on record"] = len(here.oracle.calls) + len(here.oracle.closed)
        report.counts["of them client-gone"] = sum(
            entry.reason == "client-gone" for entry in here.oracle.calls.values()
        )
        report.counts["connections on record without a call"] = here.oracle.connections
    return report


def _settle(oracle: Oracle) -> None:
    """Wait until no call is open; those that stay open are a violation at the end."""
    deadline = time.monotonic() + SETTLED_WITHIN
    while time.monotonic() < deadline:
        oracle.take()
        if all(entry.terminals for entry in oracle.calls.values()):
            return
        time.sleep(0.1)
    for audit_id, entry in oracle.calls.items():
        if not entry.terminals:
            oracle.violations.say(f"{audit_id} {entry.target}: open {SETTLED_WITHIN:g} s later")


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else CI))
