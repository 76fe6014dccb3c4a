"""The rig of simulated crash states: a journal that lives and dies on a disk at its worst.

`crash_states` plays lives of a journal (`simulated_journal`) until as many states of the disk as
asked for were tried. Everything follows from the seed; `python -m tests.faults.crash_states
<seed>/<number>` plays one life again.
"""

import gc
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import get_context
from typing import Final

import structlog

from tests.faults.report import Report
from tests.faults.simulated_journal import Counts, Life
from tests.faults.simulated_oracle import Violation

CI_STATES: Final = 50_000
RELEASE_STATES: Final = 1_000_000
_ENOUGH: Final = 10
"""Violations after which a process stops."""
_CRITICAL: Final = 50


def crash_states(states: int = CI_STATES, seed: int = 1, processes: int = 2) -> Report:
    """Try at least `states` crash states, in several processes."""
    started = time.monotonic()
    share = -(-states // processes)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_share, [(f"{seed}.{number}", share) for number in range(processes)]))
    report = Report("crash states", seed)
    for counts, violations in parts:
        for name, count in asdict(counts).items():
            report.counts[name] = int(report.counts.get(name, 0)) + count
        report.violations += violations
    seconds = time.monotonic() - started
    report.counts |= {
        "processes": processes,
        "seconds": round(seconds, 1),
        "states_per_second": round(int(report.counts["states"]) / seconds),
    }
    return report


def hunt(seed: int = 1, seconds: float = 55.0, life: int = 0) -> Report:
    """In this process, from a life on until the first violation or for `seconds`."""
    started = time.monotonic()
    counts = Counts()
    report = Report("crash states", seed)
    with quiet():
        number = life
        while not report.violations and time.monotonic() - started < seconds:
            report.violations += _life(f"{seed}.0/{number}", counts)
            number += 1
    report.counts |= asdict(counts) | {"seconds": round(time.monotonic() - started, 1)}
    return report


@contextmanager
def quiet() -> Iterator[None]:
    """Without the product's log: it would tell of every failure we make."""
    config = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_CRITICAL))
    threshold = gc.get_threshold()
    gc.set_threshold(100_000)  # nothing here is cyclic, and collections cost a fifth of the time
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        structlog.configure(**config)


def _share(task: tuple[str, int]) -> tuple[Counts, list[str]]:
    name, states = task
    counts, number = Counts(), 0
    violations: list[str] = []
    with quiet():
        while counts.states < states and len(violations) < _ENOUGH:
            violations += _life(f"{name}/{number}", counts)
            number += 1
    return counts, violations


def _life(name: str, counts: Counts) -> list[str]:
    counts.lives += 1
    try:
        Life(name, counts).live()
    except Violation as violation:
        return [f"life {name}: {violation}"]
    return []


if __name__ == "__main__":
    with quiet():
        print(_life(sys.argv[1], Counts()) or "no violation")
