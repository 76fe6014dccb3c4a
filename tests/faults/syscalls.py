"""System call rig: every system call on the journal's files, broken once in every way.

A small program, always the same: recover what a killed proxy left, serve a dozen calls, which fill
a segment, end in good order. A clean run under strace counts its system calls; then each of them
is broken in a run of its own: killed at, refused with EIO and ENOSPC, held up for half a second.
(Half a write is not among strace's faults: the process cuts its own `pwrite` short, as the kernel
may.) Afterwards a proxy starts without faults, and the oracle compares.
"""

import os
import random
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

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
CI = 60
"""Broken runs; the choice is a seeded sample in which every system call and fault occurs."""
RELEASE = 10**6
"""All of them."""
TRIES = 5
"""Runs of one case until its system call came about: how records gather in batches varies."""
SETTINGS = {"journal": {"segment_bytes": 64 * 1024, "reserve_bytes": 256 * 1024}}
SCRIPT = ["create", "get", "large", "delete", "exec", "events", "patch", "get", "create"]
PAD = "&pad=" + "x" * 4000
"""Makes records long, so that few calls fill a segment."""


@dataclass
class Cases:
    """The rig's own state."""

    here: Rig
    template: Path
    client: Client
    log: Path
    number: int = 0
    paths: set[str] = field(default_factory=set)
    traces: Path = field(init=False)

    def __post_init__(self) -> None:
        self.traces = self.here.scene.directory / "trace"

    def run(self, inject: str = "", short: int = 0) -> Trace | None:
        """One run with one fault, then one without; the oracle compares."""
        self.number += 1
        scene = self.here.scene
        shutil.rmtree(scene.data_dir, ignore_errors=True)
        shutil.copytree(self.template, scene.data_dir)
        oracle = self._oracle()
        proxy = self.here.proxy()
        options = {"settings": SETTINGS, "breakable": False}
        if short:
            self._program(proxy, {**options, "short": short})
            trace = None
        else:
            with traced(proxy.pid, self.traces, self.paths, inject):
                self._program(proxy, options)
            trace = Trace.read(self.traces)
        what = inject or (f"short write {short}" if short else "no fault")
        try:
            again = self.here.proxy()
            again.go(settings=SETTINGS, breakable=False)
            again.end()
        except (EOFError, RuntimeError) as error:
            oracle.violations.say(f"it does not start any more: {error}")
        oracle.check(final=True)
        for text in oracle.violations:
            self.here.oracle.violations.say(f"{what}: {text.replace(PAD[1:], '…')}")
        self._count(oracle)
        return trace

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
            proxy.go(**options)
            calls(self.client, SCRIPT, proxy)
            proxy.end()
        except (EOFError, RuntimeError, OSError):
            pass  # it was killed, or refused to start: what counts is what it leaves
        finally:
            proxy.close()


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


def run(most: int = CI, seed: int = 1) -> Report:
    """Break `most` system calls, each in one way, or all in all ways when there are fewer."""
    report = Report("system calls", seed)
    with rig(report) as here:
        cases = _prepared(here)
        clean = cases.run()
        assert clean is not None
        cases.paths = clean.paths(here.scene.data_dir)
        clean = cases.run()
        assert clean is not None
        instances = {one for path in cases.paths for one in clean.instances(path)}
        report.counts["system calls of the program"] = len(instances)
        wanted = sorted({(one.path, one.syscall, one.number) for one in instances})
        todo = [(*one, fault) for one in wanted for fault in FAULTS]
        chosen = _sample(todo, most, seed)
        report.counts["cases"] = len(chosen)
        broken = dict.fromkeys(FAULTS, 0)
        began = time.monotonic()
        for case in chosen:
            broken[case[3]] += _broken(cases, case)
            if here.oracle.violations:
                break
        writes = max((one.number for one in instances if one.syscall == "pwrite64"), default=0)
        for number in range(1, writes + 1, max(1, 10 * writes // most)):
            cases.run(short=number)
            report.counts["short writes"] = int(report.counts.get("short writes", 0)) + 1
        report.counts["runs with a fault"] = cases.number - 2
        report.counts |= {f"broken by {fault}": count for fault, count in broken.items()}
        report.counts["ms a run"] = round((time.monotonic() - began) * 1000 / cases.number)
    return report


Case = tuple[str, str, int, str]
"""Path, system call, the how-manieth, fault."""


def _broken(cases: Cases, case: Case) -> bool:
    """Break one system call; whether it came about."""
    path, name, number, fault = case
    cases.paths = {path}
    for _ in range(TRIES):
        trace = cases.run(f"{name}:{FAULTS[fault]}:when={number}")
        assert trace is not None
        for again in trace.synced_again():
            cases.here.oracle.violations.say(
                f"{name} {number} {fault}: {again} synced after a failure"
            )
        killed = trace.killed_at(path, name, number)
        if killed if fault == "KILL" else trace.instances(path, injected=True):
            return True
    return False


def _sample(todo: list[Case], most: int, seed: int) -> list[Case]:
    """At most `most` of them: each kind of system call with each fault first, then at random."""
    if len(todo) <= most:
        return todo
    shuffled = todo[:]
    random.Random(seed).shuffle(shuffled)
    first = {(case[1], case[3]): case for case in shuffled}
    rest = [case for case in shuffled if case not in first.values()]
    return (list(first.values()) + rest)[:most]


def _prepared(here: Rig) -> Cases:
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
        pad=PAD,
        patience=3.0,
    )
    proxy = here.proxy()
    proxy.go(settings=SETTINGS, breakable=False)
    calls(client, ["create", "get", "large"], proxy)
    open_call = threading.Thread(target=calls, args=(client, ["watch"], proxy))
    open_call.start()
    time.sleep(0.01)
    proxy.kill()
    open_call.join()
    template = scene.directory / "template"
    shutil.copytree(scene.data_dir, template)
    return Cases(here, template, client, log)


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else CI))
