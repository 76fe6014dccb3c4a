"""System call rig: every system call on the proxy's files, broken once in every way.

A small program, always the same: recover what a killed proxy left, serve a dozen calls, which fill
a segment, end in good order. A clean run under strace counts its system calls; then each of them
is broken in a run of its own: killed at, refused with EIO and ENOSPC, held up for half a second.
(Half a write is not among strace's faults: the process cuts its own `pwrite` short, as the kernel
may.) Afterwards a proxy starts without faults, and the oracle compares.

strace counts by thread, so the program does the same in the same threads in each run (`steady` in
tests.faults.controlled). A case counts only when strace, or the process, says that it came about.

`run` is about the journal's files; `run_embedded` about those of SQLite beside it, state and index.
"""

import os
import random
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.faults import databases
from tests.faults.client import Client
from tests.faults.oracle import Oracle, Tail
from tests.faults.report import Report
from tests.faults.rigging import Proxy, Rig, rig
from tests.faults.tracing import Trace, traced

FAULTS = {
    "KILL": "signal=KILL",
    "EIO": "error=EIO",
    "ENOSPC": "error=ENOSPC",
    "delay": "delay_enter=500000",
}
SHORT = "short write"
CI = 52
"""Cases; the choice is a seeded sample in which every kind of system call and fault occurs."""
CI_EMBEDDED = 32
"""The same of SQLite's files."""
RELEASE = 10**6
"""All of them."""
TRIES = 12
"""Runs of one case until it came about."""
JOURNAL = {"segment_bytes": 64 * 1024, "reserve_bytes": 256 * 1024}
SCRIPT = ["create", "get", "large", "delete", "exec", "events", "patch", "get", "create"]
CALL = "create"
"""With databases there is one: what it leaves in them takes some three hundred system calls."""
PAD = "&pad=" + "x" * 4000
"""Makes records long, so that few calls fill a segment."""
BOOKMARK = 1.0
"""Seconds at most that the program waits for the bookmark of its finished segment."""


class Case(NamedTuple):
    """One system call, broken in one way."""

    path: str
    syscall: str
    number: int
    """The how-manieth of its kind on this file in its thread; of writes to be cut, in the process."""
    fault: str

    def __str__(self) -> str:
        return f"{Path(self.path).name} {self.syscall} {self.number} {self.fault}"


@dataclass
class Cases:
    """The rig's own state."""

    here: Rig
    template: Path
    client: Client
    log: Path
    embedded: bool
    number: int = 0
    paths: set[str] = field(default_factory=set)
    traces: Path = field(init=False)

    def __post_init__(self) -> None:
        self.traces = self.here.scene.directory / "trace"
        self.cut = self.here.scene.directory / "cut-short"
        self.options: dict[str, object] = {
            "settings": {"journal": JOURNAL}, "breakable": False, "steady": True,
            "embedded": self.embedded,
        }  # fmt: skip

    def came_about(self, case: Case) -> bool:
        """Break one system call; whether that happened."""
        self.paths = {case.path}
        if case.fault == SHORT:
            self.run(str(case), short=[case.path, case.number])
            return self.cut.exists()
        inject = f"{case.syscall}:{FAULTS[case.fault]}:when={case.number}"
        trace = self.run(str(case), inject)
        # SQLite does that by itself, when it takes back what it could not commit.
        for again in [] if self.embedded else trace.synced_again():
            self.here.oracle.violations.say(f"{case}: {again} synced after a failure")
        if case.fault == "KILL":
            return bool(trace.killed_at(case.path, case.syscall, case.number))
        return bool(trace.instances(case.path, injected=True))

    def run(self, what: str = "no fault", inject: str = "", short: object = None) -> Trace:
        """One run with one fault, then one without; the oracle compares."""
        self.number += 1
        scene = self.here.scene
        shutil.rmtree(scene.data_dir, ignore_errors=True)
        shutil.copytree(self.template, scene.data_dir)
        self.cut.unlink(missing_ok=True)
        oracle = self._oracle()
        proxy = self.here.proxy()
        trace = Trace([])
        if short:
            self._program(proxy, {"short": short})
        else:
            with traced(proxy.pid, self.traces, self.paths, inject):
                self._program(proxy, {})
            trace = Trace.read(self.traces)
        self._again(oracle)
        for text in oracle.violations:
            self.here.oracle.violations.say(f"{what}: {text.replace(PAD[1:], '…')}")
        self._count(oracle)
        return trace

    def _again(self, oracle: Oracle) -> None:
        """A start without faults, which recovers and catches up; then everything is compared."""
        try:
            proxy = self.here.proxy()
            proxy.go(**self.options)
            proxy.end()
        except (EOFError, RuntimeError) as error:
            oracle.violations.say(f"it does not start any more: {error}")
        oracle.check(final=True)
        if self.embedded:
            records = oracle.reader.expected - 1
            databases.compare(self.here.scene, records, oracle.violations)

    def _oracle(self) -> Oracle:
        """A new one, which knows what was before this run from the template's own logs."""
        scene = self.here.scene
        mine = scene.directory / "client-now.log"
        mine.unlink(missing_ok=True)
        os.close(self.client.log)
        self.client.log = os.open(mine, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        oracle = Oracle(scene.journal, scene.effects, [self.log, mine])
        oracle._effects = Tail(scene.effects, at_end=True)
        return oracle

    def _count(self, oracle: Oracle) -> None:
        total = self.here.oracle
        total.acknowledged += oracle.acknowledged
        total.mutated += oracle.mutated
        total.executed += oracle.executed
        total.recorded += oracle.recorded
        total.interrupted += oracle.interrupted

    def _program(self, proxy: Proxy, options: dict[str, object]) -> None:
        """Start, a dozen calls, end; however far it gets."""
        try:
            proxy.go(**self.options, **options)
            if self.embedded:
                calls(self.client, [CALL], proxy)
                proxy.ask("level")
            else:
                calls(self.client, SCRIPT, proxy)
                self._bookmarked()
            proxy.end()
        except (EOFError, RuntimeError, OSError):
            pass  # it was killed, or refused to start: what counts is what it leaves
        finally:
            proxy.close()

    def _bookmarked(self) -> None:
        """Wait for the bookmark of the last finished segment: who is told to end makes no more."""
        until = time.monotonic() + BOOKMARK
        while time.monotonic() < until:
            names = sorted(path.stem for path in self.here.scene.journal.glob("*.jsonl"))
            if len(names) > 1 and (self.here.scene.journal / f"{names[-2]}.open").exists():
                return
            time.sleep(0.01)


def calls(client: Client, kinds: list[str], proxy: Proxy) -> None:
    """Make these calls, one after the other; a cut connection is followed by another."""
    connection = None
    for kind in kinds:
        client.kinds = [kind]
        if not proxy.alive:
            break
        try:
            if connection is None or not connection.reader.keep_alive:
                if connection is not None:
                    connection.sock.close()
                connection = client.connect()
            client.step(connection)
        except OSError:
            if connection is not None:
                connection.sock.close()
            connection = None
            client.pending = []
    if connection is not None:
        connection.sock.close()


def run(most: int = CI, seed: int = 1, *, embedded: bool = False, first: int = 0) -> Report:
    """Break `most` system calls, each in one way, or all in all ways when there are fewer.

    `first` is where to go on when an earlier run stopped there.
    """
    report = Report("system calls", seed)
    counts = report.counts
    with rig(report) as here:
        cases = _prepared(here, embedded)
        todo = _all(cases, counts)
        chosen = _sample(todo, most, seed)[first:]
        counts["cases"] = len(chosen)
        if first:
            counts["cases before, not in this run"] = first
        broken = dict.fromkeys([*FAULTS, SHORT], 0)
        began, before = time.monotonic(), cases.number
        missed = []
        for case in chosen:
            if any(cases.came_about(case) for _ in range(TRIES)):
                broken[case.fault] += 1
            else:
                missed.append(str(case))
            if here.oracle.violations:
                break
        counts["came about"] = sum(broken.values())
        counts["runs with a fault"] = cases.number - before
        counts |= {f"broken by {fault}": count for fault, count in broken.items()}
        counts["ms a run"] = round((time.monotonic() - began) * 1000 / (cases.number - before))
        for one in missed:
            here.oracle.violations.say(f"{one}: did not come about in {TRIES} runs")
    return report


def run_embedded(most: int = CI_EMBEDDED, seed: int = 1) -> Report:
    """The same for the files of SQLite: the state's database and the index."""
    return run(most, seed, embedded=True)


def _all(cases: Cases, counts: dict[str, int | float | str]) -> list[Case]:
    """Every case there is, from a clean run."""
    data = cases.here.scene.data_dir
    found = cases.run().paths(data)
    databases = {path for path in found if Path(path).name.startswith(("state.db", "index.db"))}
    cases.paths = databases if cases.embedded else found - databases
    clean = cases.run()
    instances = {one for path in cases.paths for one in clean.instances(path)}
    counts["system calls of the program"] = len(instances)
    wanted = sorted({(one.path, one.syscall, one.number) for one in instances})
    todo = [Case(*one, fault) for one in wanted for fault in FAULTS]
    if cases.embedded:
        return todo  # SQLite's writes are not ours to cut
    for path in sorted(cases.paths):
        writes = sum(one.path == path and one.syscall == "pwrite64" for one in instances)
        todo += [Case(path, "pwrite64", number + 1, SHORT) for number in range(writes)]
    return todo


def _sample(todo: list[Case], most: int, seed: int) -> list[Case]:
    """At most `most` of them: each kind of system call with each fault first, then at random."""
    if len(todo) <= most:
        return todo
    shuffled = todo[:]
    random.Random(seed).shuffle(shuffled)
    first = {(case.syscall, case.fault): case for case in shuffled}
    rest = [case for case in shuffled if case not in first.values()]
    return (list(first.values()) + rest)[:most]


def _prepared(here: Rig, embedded: bool) -> Cases:
    """What a killed proxy left, to be recovered in each run."""
    scene = here.scene
    log = scene.directory / "client-0.log"
    client = Client(
        scene,
        here.port,
        os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND),
        f"a{here.seed}-0",
        random.Random(here.seed),
        scene.client_context("alice"),
        [],
        pad="" if embedded else PAD,
        patience=3.0,
    )
    if embedded:
        scene.data_dir.mkdir()
        databases.seeded(scene)
    proxy = here.proxy()
    proxy.go(settings={"journal": JOURNAL}, breakable=False, embedded=embedded)
    calls(client, ["create", "get", "large"], proxy)
    if embedded:
        proxy.ask("level")
    open_call = threading.Thread(target=calls, args=(client, ["watch"], proxy))
    open_call.start()
    time.sleep(0.01)
    proxy.kill()
    open_call.join()
    template = scene.directory / "template"
    shutil.copytree(scene.data_dir, template)
    return Cases(here, template, client, log, embedded)


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else CI))
    print(run_embedded(int(sys.argv[1]) if len(sys.argv) > 1 else CI_EMBEDDED))
