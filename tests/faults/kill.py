"""Kill rig: SIGKILL at random instants under load; the oracle compares after each stretch.

The clients and the API server live on; the listening socket does too, so clients meet the next
proxy on the same address. The journal's segments are as small as they may be, so that many kills
fall on a change of segments.
"""

import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.oracle import Oracle
from tests.faults.processes import Processes
from tests.faults.report import Report
from tests.faults.scene import Scene, listener

ROOT = Path(__file__).parents[2]
KEEP = 200
"""Segments left in place; older ones were compared and are removed."""


@dataclass(frozen=True)
class Size:
    """How much."""

    kills: int
    seconds: float = 3600.0
    """Stops early after so long; the counts say how far it came."""
    longest: float = 0.07
    """Seconds a proxy lives at most, once it serves."""
    stretch: int = 50
    """Kills between two comparisons."""


CI = Size(kills=320, seconds=45)
RELEASE = Size(kills=10_000)
GIGABYTE = 10**9
RECOVERY_LIMIT = 1.0
"""Seconds that a start after a kill may take with a gigabyte of journal to read."""


def run(size: Size = CI, seed: int | None = None, bug: str = "") -> Report:
    """Kill a proxy again and again; stops at the first violation."""
    seed = seed if seed is not None else random.SystemRandom().randrange(10**6)
    report = Report("kill", seed)
    with tempfile.TemporaryDirectory(prefix="kill-") as folder, Processes() as processes:
        scene = Scene.make(Path(folder))
        api_port = processes.api_server(scene)
        sock = listener()
        settings = {"journal": {"segment_bytes": 64 * 1024, "reserve_bytes": 0}}
        port = sock.getsockname()[1]
        server = processes.fork_server(scene, api_port, sock, settings, bug)
        oracle = Oracle(scene.journal, scene.effects, [])
        for mix, threads, user in (("mixed", 5, "alice"), ("writes", 3, "alice")):
            oracle.watch(processes.client(scene, port, seed, mix=mix, threads=threads, user=user))
        cycles = _cycles(size, seed, server, oracle, report)
        _summary(report, cycles, oracle)
        if report.violations and not bug:  # one in thousands may not come again
            kept = tempfile.mkdtemp(prefix="kill-kept-")
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            report.counts["kept in"] = kept
    return report


def run_recovery(times: int = 1, seed: int = 0, size: int = GIGABYTE) -> Report:
    """How long the start after a kill takes when the killed proxy had written `size` bytes."""
    report = Report("recovery", seed)
    with tempfile.TemporaryDirectory(prefix="recovery-") as folder, Processes() as processes:
        scene = Scene.make(Path(folder))
        api_port = processes.api_server(scene)
        server = processes.fork_server(scene, api_port, listener(), {}, "")
        seconds = []
        for _ in range(times):
            filled = json.loads(_ask(server, f"fill {size}", 1)[0])
            ended = json.loads(_ask(server, "end", 1)[0])
            for answer in (filled, ended):
                if "trouble" in answer:
                    report.violations.append(answer["trouble"])
            seconds.append(ended["started"])
        report.counts["kills"] = times
        report.counts["journal bytes"] = size
        report.counts["start with recovery s (max)"] = round(max(seconds), 3)
        if max(seconds) > RECOVERY_LIMIT:
            report.violations.append(
                f"a start took {max(seconds):.2f} s, {RECOVERY_LIMIT:g} are allowed"
            )
    return report


def _cycles(
    size: Size, seed: int, server: subprocess.Popen[str], oracle: Oracle, report: Report
) -> list[dict[str, Any]]:
    cycles: list[dict[str, Any]] = []
    began = time.monotonic()
    while len(cycles) < size.kills and time.monotonic() - began < size.seconds:
        count = min(size.stretch, size.kills - len(cycles))
        told = _ask(server, f"kill {count} {seed + len(cycles)} {size.longest}", count + 1)
        cycles += [json.loads(line) for line in told[:-1]]
        oracle.check()
        oracle.reader.forget(KEEP)
        for cycle in cycles[-count:]:
            if "trouble" in cycle:
                oracle.violations.say(f"a proxy did not start after a kill: {cycle['trouble']}")
        if oracle.violations:
            break
    report.counts["kills"] = len(cycles)
    report.counts["seconds"] = round(time.monotonic() - began, 1)
    if not oracle.violations:
        last = json.loads(_ask(server, "end", 1)[0])
        if "trouble" in last:
            oracle.violations.say(f"the last proxy did not end in good order: {last['trouble']}")
        oracle.check(final=True)
    return cycles


def _ask(server: subprocess.Popen[str], command: str, lines: int) -> list[str]:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(command + "\n")
    server.stdin.flush()
    return [server.stdout.readline() for _ in range(lines)]


def _summary(report: Report, cycles: list[dict[str, Any]], oracle: Oracle) -> None:
    started = sorted(cycle["started"] for cycle in cycles if cycle["started"])
    report.counts |= oracle.counts()
    if started:
        report.counts["cycle ms (mean)"] = round(
            statistics.mean(cycle["seconds"] for cycle in cycles) * 1000, 1
        )
        report.counts["start with recovery ms (median)"] = round(
            statistics.median(started) * 1000, 1
        )
        report.counts["start with recovery ms (max)"] = round(started[-1] * 1000, 1)
    report.violations += oracle.violations


if __name__ == "__main__":
    print(run(Size(int(sys.argv[1]) if len(sys.argv) > 1 else 100)))
