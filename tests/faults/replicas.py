"""Replicas: three real processes on one PostgreSQL, killed in turn under load, and it with them.

Everything that a client or kubectl was told, and everything that an API server executed, must be
in PostgreSQL once, equal to the journals byte for byte. Changes of credentials, clusters and grants,
made at one replica, must hold at all of them within a second.

With `audit.ack: replicated` the rig ends by losing a volume: one replica dies while the database
is away, and its journal with it. What it had acknowledged must be there all the same.
"""

import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import replicas_check as check
from tests.faults.oracle import Violations
from tests.faults.replicas_changes import Changes
from tests.faults.replicas_site import COUNT, READY, Replica, Site, site, together
from tests.faults.report import Report

KUBECTL = Path(sys.executable).with_name("kubectl")


@dataclass(frozen=True)
class Size:
    """How much."""

    kills: int
    stops: int
    """Of PostgreSQL."""
    changes: int
    """Of credentials, clusters and grants, each of them timed; see tests.faults.replicas_changes."""
    seconds: float = 3600.0
    """No more kills after so long; the counts say how far it came."""
    threads: int = 2
    """Clients of each replica."""
    kubectls: int = 2
    pause: float = 0.02
    """Seconds at most that a client waits before its next call."""
    peace: float = 20.0
    """Seconds the last records get to arrive, once nothing is broken any more."""


CI = Size(kills=3, stops=5, changes=1)
RELEASE = Size(kills=30, stops=5, changes=10, threads=3, seconds=300.0)


def run(
    size: Size = CI, seed: int | None = None, *, ack: str = "local", bug: str = "",
    workers: int = 1,
) -> Report:  # fmt: skip
    """Hurt three replicas and their database; see the module."""
    seed = seed if seed is not None else random.SystemRandom().randrange(10**6)
    report = Report(f"replicas {ack}", seed)
    settings = {"KUBEWITNESS_AUDIT_ACK": ack, "KUBEWITNESS_WORKERS": str(workers)}
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="replicas-") as folder,
        site(Path(folder), settings, bug) as made,
        contextlib.ExitStack() as stack,
    ):
        rig = Rig(made, size, report)
        stack.callback(rig.quiet)
        rig.load()
        report.counts["seconds to set up"] = round(time.monotonic() - began, 1)
        rig.hurt()
        if ack == "replicated":
            rig.lose_volume()
        rig.settle()
        rig.compare()
    report.counts["seconds in all"] = round(time.monotonic() - began, 1)
    return report


@dataclass
class Rig:
    """One run."""

    site: Site
    size: Size
    report: Report
    say: Violations = field(default_factory=Violations)
    applied: list[str] = field(default_factory=list)
    healed: list[float] = field(default_factory=list)
    """Seconds from PostgreSQL's return until every replica was ready."""
    logs: list[Path] = field(default_factory=list)
    journals: list[Path] = field(default_factory=list)
    lost: bool = False
    """Whether a volume was lost."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.report.seed)
        self.changes = Changes(self.site, self.say)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._numbers = iter(range(10**9))

    # --- load ----------------------------------------------------------------------------------

    def load(self) -> None:
        """Clients at every replica, and kubectl in loops."""
        kubeconfigs = together(
            lambda replica: self.site.kubeconfig(replica, "alice"), self.site.replicas
        )
        self.site.identity(kubeconfigs[0], "alice")
        for index, replica in enumerate(self.site.replicas):
            mix = "mixed" if index == 0 else "writes"
            self.logs.append(
                self.site.processes.client(
                    self.site.clients, replica.ports[0], self.report.seed, mix=mix,
                    threads=self.size.threads, pause=self.size.pause,
                )
            )  # fmt: skip
        for index in range(self.size.kubectls):
            thread = threading.Thread(target=self._kubectl, args=(kubeconfigs, index))
            thread.start()
            self._threads.append(thread)
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline:
            if all(len(check.acknowledged(log)) > 10 for log in self.logs):
                return
            time.sleep(0.05)
        raise RuntimeError("the clients get no answers")

    def _kubectl(self, kubeconfigs: list[Path], index: int) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            name = f"kw-{index}-{number}"
            manifest = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "default"},
                "data": {"k": "v"},
            }
            command = [str(KUBECTL), "--kubeconfig", str(kubeconfigs[number % COUNT])]
            command += ["--cache-dir", str(self.site.folder / "cache"), "--context", "dev"]
            command += ["apply", "--server-side", "--request-timeout=10s", "-f", "-"]
            done = subprocess.run(
                command, input=json.dumps(manifest), text=True, capture_output=True, check=False
            )
            if done.returncode == 0:
                self.applied.append(name)

    # --- faults --------------------------------------------------------------------------------

    def hurt(self) -> None:
        """Kill replicas in turn, restart PostgreSQL now and then, and time changes between."""
        began = time.monotonic()
        turns = [*["kill"] * self.size.kills, *["stop"] * self.size.stops]
        turns += ["change"] * self.size.changes
        self.chance.shuffle(turns)
        done: dict[str, int] = dict.fromkeys(("kill", "stop", "change"), 0)
        for turn in turns:
            late = time.monotonic() - began > self.size.seconds
            if (late and turn == "kill") or self.say:
                continue
            time.sleep(self.chance.uniform(0.1, 0.6))
            work = {"kill": self._kill, "stop": self._stop_database, "change": self._change}
            work[turn](done[turn])
            done[turn] += 1
        self.report.counts |= {
            "kills": done["kill"],
            "restarts of PostgreSQL": done["stop"],
            "changes": done["change"],
            "seconds of faults": round(time.monotonic() - began, 1),
        }

    def _kill(self, number: int) -> None:
        replica = self.site.replicas[number % COUNT]
        replica.kill()
        time.sleep(self.chance.uniform(0, 0.3))
        replica.begin()
        replica.wait()

    def _stop_database(self, number: int) -> None:
        """Away for a moment: pulled like a plug, or stopped as an operator does."""
        if number % 2:
            self.site.server.stop("immediate")
        else:
            self.site.server.kill()
        time.sleep(self.chance.uniform(0.2, 1.0))
        self.site.server.start()
        began = time.monotonic()
        together(Replica.wait, self.site.replicas)
        self.healed.append(time.monotonic() - began)

    def _change(self, number: int) -> None:
        """Change something at one replica, and try at all; one of them has just been started."""
        self._kill(number)
        self.changes.make(number)

    # --- a lost volume -------------------------------------------------------------------------

    def lose_volume(self) -> None:
        """One replica dies while the database is away, and its disk with it."""
        replica, log = self.site.replicas[-1], self.logs[-1]
        self.site.server.kill()
        time.sleep(1.0)
        replica.kill()
        self.site.server.start()
        shutil.rmtree(replica.data_dir)
        recorded = check.Recorded.read(self.site.database.url)
        self.lost = True
        count = check.against_clients(recorded, [log], self.say)
        self.report.counts["acknowledged by the lost one"] = count
        self.logs.remove(log)

    # --- the end -------------------------------------------------------------------------------

    def quiet(self) -> None:
        """No more load."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.site.processes.end_clients()

    def settle(self) -> None:
        """Without load, every replica ships what it has, and ends in order."""
        self.quiet()
        left = [replica for replica in self.site.replicas if replica.data_dir.exists()]
        together(Replica.wait, left)
        deadline = time.monotonic() + self.size.peace
        self.journals = [
            path for each in left for path in sorted((each.data_dir / "journal").iterdir())
            if path.is_dir()
        ]  # fmt: skip
        while time.monotonic() < deadline and not self._level():
            time.sleep(0.1)
        for replica, code in zip(left, together(Replica.end, left), strict=True):
            if code:
                last = replica.log.read_text().strip().rpartition("\n")[2]
                self.say.say(f"replica {replica.number} ended with {code}: {last[:300]}")
        starts = [start for each in self.site.replicas for start in each.starts]
        self.report.counts["start s (max)"] = round(max(starts), 2)

    def _level(self) -> bool:
        counts = self.site.database.exec(
            "SELECT writer, count(*) FROM kubewitness.events GROUP BY writer"
        )
        there = dict(line.split("|") for line in counts.splitlines())
        ends = (check.journal(path) for path in self.journals)
        return all(int(there.get(writer, 0)) >= len(lines) for writer, lines in ends)

    def compare(self) -> None:
        """Everything against everything."""
        recorded = check.Recorded.read(self.site.database.url)
        if self.lost:  # nobody has its journal any more
            for writer in recorded.lines.keys() - {
                check.journal(path)[0] for path in self.journals
            }:
                there = sorted(recorded.lines.pop(writer))
                recorded.rows -= len(there)
                if there != list(range(1, len(there) + 1)):
                    self.say.say(f"{writer}: PostgreSQL has gaps")
        counts = self.report.counts
        counts["records"] = check.against_journals(recorded, self.journals, self.say)
        counts["acknowledged calls"] = check.against_clients(recorded, self.logs, self.say)
        counts["executed mutations"] = check.against_effects(
            recorded, self.site.api.effects, self.say
        )
        if not self.lost:
            counts["interrupted calls"] = check.closed(recorded, self.say)
        check.against_kubectl(recorded, self.applied, self._configmaps(), self.say)
        counts["applied by kubectl"] = len(self.applied)
        if self.healed:
            counts["ready after PostgreSQL is back s (max)"] = round(max(self.healed), 2)
        counts |= self.changes.counts()
        self.report.violations += self.say

    def _configmaps(self) -> list[str]:
        found = subprocess.run(
            [
                *(str(KUBECTL), "--kubeconfig", str(self.site.sandbox), "--as", "alice"),
                *("--as-group", "dev", "get", "configmaps", "-n", "default", "-o", "name"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            raise RuntimeError(found.stderr)
        names = [line.partition("/")[2] for line in found.stdout.split()]
        return [name for name in names if name.startswith("kw-")]


if __name__ == "__main__":
    print(run(CI, ack=sys.argv[1] if len(sys.argv) > 1 else "local"))
