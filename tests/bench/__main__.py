"""`python -m tests.bench`: measure, print, and write RESULTS.md beside this file."""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.bench import certificates, contenders, database, machine, measure, report
from tests.bench.contenders import BenchError, Contender, Place
from tests.bench.report import Results


def main() -> int:
    """Run the benchmark; the exit code tells whether it ran, not whether targets hold."""
    if sys.argv[1:2] == ["database"]:
        return database.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="names of loads, comma-separated; no file")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        machine.check()
        with tempfile.TemporaryDirectory(dir=machine.disk_work()) as work:
            _run(Path(work), given.rounds, set(filter(None, given.only.split(","))))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(work: Path, rounds: int, only: set[str]) -> None:
    certificates.write(work)
    place = Place(
        work, work, machine.go_program(work), machine.nginx_program(), machine.kubectl_program()
    )
    results = Results(machine.describe(), machine.versions(place.nginx, place.kubectl))
    print(f"{results.machine}; {results.versions}", flush=True)
    with ExitStack() as stack:
        direct = stack.enter_context(contenders.backend(place))
        proxies: list[Callable[[], AbstractContextManager[Contender]]] = [
            lambda: contenders.nginx(place, direct.address),
            lambda: contenders.kubectl_proxy(place, direct.address),
            lambda: contenders.reverse(place, direct.address),
            lambda: contenders.ours(place, direct.address, record=False),
            lambda: contenders.ours(place, direct.address, record=True),
        ]
        if not only or "watch" in only:
            # In processes of their own, so that what they leave behind burdens no other number.
            for start in proxies:
                with start() as contender:
                    size = results.watches[contender.name] = measure.per_watch(place, contender)
                    print(f"watch    {contender.name:24} {size:8.0f} KB", flush=True)
        field = [direct, *(stack.enter_context(start()) for start in proxies)]
        results.contenders = [contender.name for contender in field]
        (all_before, ours_before), started = _used(), time.monotonic()
        _rounds(place, field, results, rounds, only)
        (all_after, ours_after), ended = _used(), time.monotonic()
        others = (all_after - all_before) - (ours_after - ours_before)
        results.busy = max(0.0, others / (ended - started) / (os.cpu_count() or 1))
    if not only:
        text = report.render(results, time.time(), rounds)
        (Path(__file__).parent / "RESULTS.md").write_text(text, encoding="utf-8")
        for target in report.targets(results):
            print(f"{'holds ' if target.holds else 'MISSED'} {target.text}: {target.measured}")


def _rounds(
    place: Place, field: list[Contender], results: Results, rounds: int, only: set[str]
) -> None:
    for number in range(1, rounds + 1):
        for load in measure.LOADS:
            if only and load.name not in only:
                continue
            for contender in field:
                found = measure.measure(place, contender, load)
                results.outcomes.setdefault((load.name, contender.name), []).append(found)
                print(
                    f"{number} {load.name:8} {contender.name:24} {found.rate:9,.0f}/s"
                    f" {found.megabytes:7,.0f} MB/s  p50 {found.p50:7.2f}  p99 {found.p99:7.2f} ms"
                    f"  CPU {found.cpu:7,.0f} µs",
                    flush=True,
                )


def _used() -> tuple[float, float]:
    """CPU seconds so far: of the whole machine, and of us with our children."""
    ticks = os.sysconf("SC_CLK_TCK")
    with Path("/proc/stat").open(encoding="ascii") as file:
        words = [int(word) for word in file.readline().split()[1:]]
    times = os.times()
    ours = times.user + times.system + times.children_user + times.children_system
    for child in Path("/proc/self/task").glob("*/children"):
        for process in child.read_text(encoding="ascii").split():
            ours += measure.spent(int(process))
    # Fields 4 and 5 are the time that the cores were idle (proc_stat(5)).
    return (sum(words[:8]) - words[3] - words[4]) / ticks, ours


if __name__ == "__main__":
    sys.exit(main())
