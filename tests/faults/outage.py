"""Outage rig: one whole proxy whose PostgreSQL, state and index, is away while calls go on.

At release size for an hour, at 1,000 calls a second. Nothing may be refused or be late, whoever
looks sees the lag, real kubectl works; afterwards the index catches up, beside the calls and then
alone, and everything that clients and API server saw is in it, in order.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from tests.bench.measure import resident, spent
from tests.faults import replicas_check as check
from tests.faults.database import DRAIN
from tests.faults.database_ship import journal_lines
from tests.faults.database_site import compare_lines
from tests.faults.oracle import Tail, Violations
from tests.faults.replicas import KUBECTL
from tests.faults.replicas_site import READY, Replica, Site, site
from tests.faults.report import Report

_THREADS: Final = 8
_LOOKS: Final = 60
"""How often the rig looks at the proxy while the database is away."""
_SETTINGS: Final = {"KUBEWITNESS_JOURNAL_SEGMENT_BYTES": str(64 << 20)}
MEMORY: Final = 80 << 20
"""Bytes that the proxy may grow by meanwhile."""
SLOWEST: Final = 1_050.0
"""Milliseconds that a call may take: the journal's deadline, and 50."""


@dataclass(frozen=True)
class Size:
    """How much."""

    seconds: float
    """That the database is away."""
    rate: int
    """Calls a second."""
    beside: float
    """Seconds at most in which the index catches up beside calls, before they end."""
    peace: float = 900.0
    """Seconds it gets without them."""
    whole: bool = False
    """Whether rate and drain must reach their figures."""


CI = Size(seconds=5, rate=200, beside=5)
RELEASE = Size(seconds=3600, rate=1_000, beside=30, whole=True)


def run(size: Size = CI, seed: int | None = None) -> Report:
    """Take the database away, give it back, and compare."""
    seed = seed if seed is not None else random.SystemRandom().randrange(10**6)
    report = Report("outage of a proxy's database", seed)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="outage-") as folder,
        site(Path(folder), _SETTINGS, "", count=1) as made,
    ):
        rig = _Rig(made, size, report)
        try:
            rig.load()
            rig.away()
            rig.catch_up()
        finally:
            made.processes.end_clients()
        rig.compare()
    report.counts["seconds in all"] = round(time.monotonic() - began, 1)
    return report


@dataclass
class _Answers:
    """What the clients were told."""

    tail: Tail
    statuses: Counter[int] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    told: dict[str, int] = field(default_factory=dict)
    """Audit id → status."""
    broken: list[str] = field(default_factory=list)

    def hear(self) -> None:
        for line in self.tail.lines():
            words = line.split()
            if words[0] == "A":
                self.statuses[int(words[3])] += 1
                self.slowest_ms = max(self.slowest_ms, float(words[5]))
                self.told[words[2]] = int(words[3])
            elif words[0] in "TX":
                self.broken.append(line)

    @property
    def count(self) -> int:
        return sum(self.statuses.values())


class _Rig:
    """One run."""

    def __init__(self, made: Site, size: Size, report: Report) -> None:
        self.site = made
        self.size = size
        self.report = report
        self.say = Violations()
        self.replica: Replica = made.replicas[0]
        self.kubeconfig = made.kubeconfig(self.replica, "alice", ttl="8h")

    def load(self) -> None:
        """Clients at the rate; returns when they get answers."""
        self.site.identity(self.kubeconfig, "alice")
        log = self.site.processes.client(
            self.site.clients, self.replica.ports[0], self.report.seed, mix="small",
            threads=_THREADS, rate=self.size.rate,
        )  # fmt: skip
        self.answers = _Answers(Tail(log))
        deadline = time.monotonic() + READY
        while self.answers.count < self.size.rate:
            if time.monotonic() > deadline:
                raise RuntimeError("the clients get no answers")
            time.sleep(0.05)
            self.answers.hear()

    def away(self) -> None:
        """The database is stopped, for so long; what is promised of the time is looked at."""
        self._level(10)
        self.site.server.stop("immediate")
        began, before, cpu = time.monotonic(), self.answers.count, self._cpu()
        lags, memory = [0], [self._memory()]
        for turn in range(1, _LOOKS + 1):
            time.sleep(max(0.0, began + turn * self.size.seconds / _LOOKS - time.monotonic()))
            self.answers.hear()
            lags.append(self._lag())
            memory.append(self._memory())
            if lags[-1] < lags[-2]:
                self.say.say(f"the lag fell to {lags[-1]} while the database was away")
            self._ready()
            if turn % (_LOOKS // 4) == 0:
                self._kubectl()
        seconds, calls = time.monotonic() - began, self.answers.count - before
        self.report.counts |= {
            "seconds away": round(seconds, 1),
            "calls/s": round(calls / seconds),
            "answers": " ".join(f"{code}: {n:,}" for code, n in self.answers.statuses.items()),
            "slowest answer ms": self.answers.slowest_ms,
            "proxy's CPU %": round((self._cpu() - cpu) / seconds * 100),
            "grown MiB (max)": round((max(memory) - memory[0]) / 2**20, 1),
            "lag shown at the end": lags[-1],
        }
        if max(memory) - memory[0] > MEMORY:
            self.say.say(f"it grew from {memory[0] >> 20} to {max(memory) >> 20} MiB")
        if lags[-1] < 2 * (calls - 2 * self.size.rate):  # it is measured every second
            self.say.say(f"a lag of {lags[-1]} is shown after {calls} calls")
        if self.size.whole and calls < 0.99 * self.size.rate * seconds:
            self.say.say(f"only {calls / seconds:.0f} calls/s were made")

    def catch_up(self) -> None:
        """It is back: the index catches up, for a while beside the calls, then alone."""
        before = self._shipped()
        self.site.server.start()
        began = time.monotonic()
        while self._lag() > 2 * self.size.rate and time.monotonic() - began < self.size.beside:
            time.sleep(0.2)
        self.report.counts["drained records/s beside calls"] = round(
            (self._shipped() - before) / (time.monotonic() - began)
        )
        self.site.processes.end_clients()
        before, began = self._shipped(), time.monotonic()
        self._level(self.size.peace)
        rate = (self._shipped() - before) / (time.monotonic() - began)
        self.report.counts["drained records/s after them"] = round(rate)
        if self.size.whole and rate < DRAIN:
            self.say.say(f"drained at {rate:.0f} records/s, {DRAIN} are asked for")

    def compare(self) -> None:
        """Everything against everything; the proxy has ended in order."""
        self.answers.hear()
        if code := self.replica.end():
            last = self.replica.log.read_text().strip().rpartition("\n")[2]
            self.say.say(f"the proxy ended with {code}: {last[:300]}")
        for status, number in self.answers.statuses.items():
            if status not in {200, 201}:
                self.say.say(f"{number} calls were answered with {status}")
        for line in self.answers.broken[:5]:
            self.say.say(f"a call was cut: {line}")
        if self.answers.slowest_ms > SLOWEST:
            self.say.say(f"an answer took {self.answers.slowest_ms:.0f} ms")
        self.report.counts["acknowledged calls"] = len(self.answers.told)
        asyncio.run(self._compare())
        self.report.violations += self.say

    async def _compare(self) -> None:
        connection = await asyncpg.connect(self.site.database.url)
        try:
            async with connection.transaction():
                for directory in sorted((self.replica.data_dir / "journal").iterdir()):
                    if directory.is_dir():
                        await self._compare_journal(connection, directory)
                await self._compare_calls(connection)
        finally:
            await connection.close()

    async def _compare_journal(self, connection: Any, directory: Path) -> None:
        """The table has what the journal has, once, byte for byte, and committed in that order."""
        with min(directory.glob("*.jsonl")).open("rb") as file:
            writer = json.loads(file.readline())["writer"]
        lines = journal_lines(directory)
        await compare_lines(connection, directory.name, writer, lines, self.report)

    async def _compare_calls(self, connection: Any) -> None:
        """Each call has an intent, then one outcome: the one that its client was told."""
        executed = {audit_id for audit_id, _, _ in check.executed(self.site.api.effects)}
        self.report.counts["executed mutations"] = len(executed)
        told, begun = self.answers.told, set[str]()
        rows = connection.cursor(
            "SELECT audit_id, stage, terminal, code FROM kubewitness.events WHERE kind = 'Event'"
            " ORDER BY writer, seq, at",
            prefetch=5000,
        )
        async for audit_id, stage, terminal, code in rows:
            if stage == "RequestReceived":
                begun.add(audit_id)
                executed.discard(audit_id)
            elif audit_id not in begun:
                self.say.say(f"{audit_id}: {stage} without an intent before it, or after its end")
            elif terminal:
                begun.remove(audit_id)
                if (status := told.pop(audit_id, code)) != code:
                    self.say.say(f"{audit_id}: its client was told {status}, on record is {code}")
        for what, left in (
            ("acknowledged, without an outcome on record", told),
            ("executed without an intent", executed),
            ("without a terminal event", begun),
        ):
            if left:
                self.say.say(f"{len(left)} calls {what}, one is {next(iter(left))}")

    # --- looks at the proxy --------------------------------------------------------------------

    def _ready(self) -> None:
        try:
            with urllib.request.urlopen(self._url("readyz"), timeout=3) as found:
                text = found.read().decode()
        except (urllib.error.URLError, OSError) as error:
            self.say.say(f"not ready while the database is away: {error}")
            return
        self.report.counts.setdefault("readyz says", " ".join(text.split())[:200].replace("|", "/"))

    def _kubectl(self) -> None:
        done = subprocess.run(
            [
                *(str(KUBECTL), "--kubeconfig", str(self.kubeconfig), "--context", "dev"),
                *("--cache-dir", str(self.site.folder / "cache"), "get", "configmaps"),
                *("--namespace", "default", "--request-timeout=10s"),
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            self.say.say(f"kubectl failed while the database was away: {done.stderr[:300]}")

    def _level(self, seconds: float) -> None:
        """Wait until no record is missing from the index but what calls just made."""
        deadline = time.monotonic() + seconds
        while self._metric("kubewitness_index_lag_records") > self.size.rate:
            if time.monotonic() > deadline:
                self.say.say(f"the index is not level after {seconds:.0f} s")
                return
            time.sleep(0.1)

    def _lag(self) -> int:
        return int(self._metric("kubewitness_index_lag_records"))

    def _shipped(self) -> int:
        """Records that the index has, as the proxy shows it."""
        return int(self._metric("kubewitness_journal_batch_records_sum")) - self._lag()

    def _cpu(self) -> float:
        assert self.replica.process is not None
        return spent(self.replica.process.pid)

    def _memory(self) -> int:
        assert self.replica.process is not None
        return resident(self.replica.process.pid)

    def _metric(self, name: str) -> float:
        with urllib.request.urlopen(self._url("metrics"), timeout=10) as found:
            for line in found.read().decode().splitlines():
                if line.split(" ")[0].partition("{")[0] == name:
                    return float(line.rpartition(" ")[2])
        raise KeyError(name)

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.replica.ports[2]}/{path}"


if __name__ == "__main__":
    print(run(CI if len(sys.argv) < 2 else Size(float(sys.argv[1]), int(sys.argv[2]), 10)))
