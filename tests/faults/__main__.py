"""`make faults-long`: every rig at release size, one after the other; what they found is kept.

Usage: python -m tests.faults [--only NAME …] [--size ci|release]

Each run adds a row to EVIDENCE.md, with its seed, what was done and what was violated: good and
bad ones alike. Exits with 1 when anything was violated.
"""

import argparse
import asyncio
import inspect
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import (
    crash_states,
    cuts,
    database,
    full_disk,
    hung,
    hung_database,
    kill,
    outage,
    reaction,
    replicas,
    syscalls,
    tampering,
)
from tests.faults.report import Report
from tests.faults.simulated_writer import crashed_writers

EVIDENCE = Path(__file__).with_name("EVIDENCE.md")
Run = Callable[[], Report | Awaitable[Report]]

RIGS: dict[str, tuple[Run, Run]] = {
    # name: (size for every commit, size for a release)
    "crash-states": (
        lambda: crash_states.crash_states(crash_states.CI_STATES, seed=1),
        lambda: crash_states.crash_states(crash_states.RELEASE_STATES, seed=7),
    ),
    "crashed-writers": (
        lambda: crashed_writers(60, seed=1),
        lambda: crashed_writers(2_000, seed=2, seconds=600),
    ),
    "kill": (lambda: kill.run(kill.CI), lambda: kill.run(kill.RELEASE)),
    "recovery": (
        lambda: kill.run_recovery(size=kill.GIGABYTE // 4),
        lambda: kill.run_recovery(times=5),
    ),
    "system-calls": (
        lambda: syscalls.run(syscalls.CI),
        lambda: syscalls.run(syscalls.RELEASE),
    ),
    "system-calls-sqlite": (
        lambda: syscalls.run_embedded(syscalls.CI_EMBEDDED),
        lambda: syscalls.run_embedded(syscalls.RELEASE),
    ),
    "reaction": (lambda: reaction.run(reaction.CI), lambda: reaction.run(reaction.RELEASE)),
    "full-disk": (lambda: full_disk.run(full_disk.CI), lambda: full_disk.run(full_disk.RELEASE)),
    "hung": (lambda: hung.run(hung.CI), lambda: hung.run(hung.RELEASE)),
    "hung-database": (
        lambda: hung_database.run(hung_database.CI),
        lambda: hung_database.run(hung_database.RELEASE),
    ),
    "stopped-database": (
        lambda: hung_database.run_stopped(hung_database.CI),
        lambda: hung_database.run_stopped(hung_database.STOPPED),
    ),
    "frozen": (hung.run_frozen, lambda: hung.run_frozen(30.0)),
    "taken-away": (
        lambda: tampering.run(tampering.CI),
        lambda: tampering.run(tampering.RELEASE),
    ),
    "truncated": (
        lambda: tampering.run(tampering.CI, ways=("truncate",)),
        lambda: tampering.run(200, ways=("truncate",)),
    ),
    "read-only": (
        lambda: tampering.run_read_only(1),
        lambda: tampering.run_read_only(20),
    ),
    "client-cuts": (lambda: cuts.run(cuts.CI), lambda: cuts.run(cuts.RELEASE)),
    "commit-cuts": (database.commit_cuts, lambda: database.commit_cuts(database.RELEASE)),
    "immediate-stops": (
        database.immediate_stops,
        lambda: database.immediate_stops(database.RELEASE),
    ),
    "outage": (database.outage, lambda: database.outage(database.RELEASE)),
    "outage-hour": (lambda: outage.run(outage.CI), lambda: outage.run(outage.RELEASE)),
    "restored-journal": (
        database.restored_journal,
        lambda: database.restored_journal(database.RELEASE),
    ),
    "replicas": (lambda: replicas.run(replicas.CI), lambda: replicas.run(replicas.RELEASE)),
    "replicas-replicated": (
        lambda: replicas.run(replicas.CI, ack="replicated"),
        lambda: replicas.run(replicas.RELEASE, ack="replicated"),
    ),
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(RIGS), metavar="NAME")
    parser.add_argument("--size", choices=("ci", "release"), default="release")
    given = parser.parse_args(arguments)
    violated = False
    for name, runs in RIGS.items():
        if given.only and name not in given.only:
            continue
        began, commit = time.monotonic(), _commit()  # it may take an hour, in which others commit
        print(f"{name} ...", flush=True)
        found = runs[given.size == "release"]()
        report = asyncio.run(_awaited(found)) if inspect.isawaitable(found) else found
        row = line(name, given.size, commit, report, time.monotonic() - began)
        print(row, *report.violations[:20], sep="\n", flush=True)
        with EVIDENCE.open("a", encoding="utf-8") as out:
            out.write(row + "\n")
        violated = violated or bool(report.violations)
    return int(violated)


async def _awaited(found: Awaitable[Report]) -> Report:
    return await found


def line(name: str, size: str, commit: str, report: Report, seconds: float) -> str:
    """A row of EVIDENCE.md's table."""
    done = ", ".join(f"{what} {_text(value)}" for what, value in report.counts.items())
    violations = str(len(report.violations))
    if report.violations:
        violations += f": {report.violations[0][:200]}".replace("|", "/").replace("\n", " ")
    cells = (
        name,
        size,
        f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        commit,
        str(report.seed),
        f"{seconds:.0f} s",
        done,
        f"**{violations}**",
    )
    return f"| {' | '.join(cells)} |"


def _text(value: float | str) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
