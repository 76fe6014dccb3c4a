"""Workers as processes: they share a port, die, come back, and end with their parent."""

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.audit.gate import Level
from proxy.clock import ManualClock
from proxy.data_dir import DataDir
from proxy.runtime import multiprocess
from proxy.runtime.slots import unsealed
from proxy.runtime.supervisor import SILENCE, Worker
from proxy.settings import Settings
from tests.runtime.processes import READY, Process


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + READY
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not in time: {what}")


def children(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(part) for part in text.split()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def events(data: DataDir, slot: str) -> list[str]:
    """The actions of the system events of a slot, in order."""
    lines = [
        line
        for path in sorted((data.journal / slot).glob("*.jsonl"))
        for line in path.read_bytes().rstrip(b"\0").splitlines()
    ]
    return [found["action"] for line in lines if (found := json.loads(line)).get("action")]


@pytest.fixture
def served(settings: Settings, start: Callable[..., Process]) -> Process:
    """`serve` with two workers, ready."""
    process = start(
        "serve",
        *("--data-dir", str(settings.data_dir), "--workers", "2", "--drain-timeout", "3"),
        *("--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
    )
    process.wait_for("kubewitness is ready")
    process.wait_for("clusters  ")
    return process


def health(served: Process) -> tuple[int, str]:
    address = served.wait_for(r"http://([\d.:]+)/metrics")[1]
    try:
        with urllib.request.urlopen(f"http://{address}/readyz?verbose", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_two_workers_serve_and_end_in_good_order(settings: Settings, served: Process) -> None:
    workers = children(served.pid)
    assert len(workers) == 2
    assert health(served)[0] == 200
    assert served.end(signal.SIGTERM) == 0, served.output
    assert not any(map(alive, workers))
    assert unsealed(DataDir(settings.data_dir)) == set()


def test_a_worker_that_dies_is_replaced_on_its_slot(settings: Settings, served: Process) -> None:
    data = DataDir(settings.data_dir)
    before = children(served.pid)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(children(served.pid) - before) == 1, "a new worker")
    until(lambda: health(served)[0] == 200, "ready again")
    slot = re.search(r'"slot": "(worker-\d)"', served.output) or re.search(
        r"slot=(worker-\d)", served.output
    )
    assert slot, served.output
    assert served.end(signal.SIGTERM) == 0
    found = [events(data, name) for name in ("worker-1", "worker-2")]
    assert sorted(found) == sorted(
        [
            ["journal.open", "journal.close"],
            ["journal.open", "journal.recover", "journal.close"],
        ]
    )


def test_a_second_serve_on_the_directory_leaves_the_metrics_of_the_first(
    settings: Settings, served: Process, start: Callable[..., Process]
) -> None:
    values = multiprocess.place(DataDir(settings.data_dir).run)
    before = {path.name for path in values.glob("*.db")}
    assert before
    second = start(
        *("serve", "--data-dir", str(settings.data_dir), "--workers", "2"),
        *("--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
    )
    assert second.end() == 5
    assert "in use by a running" in second.output
    assert before <= {path.name for path in values.glob("*.db")}


def test_workers_end_when_their_parent_is_killed_and_the_next_one_starts(
    settings: Settings, served: Process, start: Callable[..., Process]
) -> None:
    workers = children(served.pid)
    os.kill(served.pid, signal.SIGKILL)
    until(lambda: not any(map(alive, workers)), "the workers ended")
    assert unsealed(DataDir(settings.data_dir)) == {"main"}, "they closed their journals"
    addresses = [f"--{name}=127.0.0.1:0" for name in ("listen", "control", "metrics")]
    again = start("serve", "--data-dir", str(settings.data_dir), *addresses)
    again.wait_for("kubewitness is ready")
    assert again.end(signal.SIGTERM) == 0
    # The next one has no workers, which is a change of settings.
    told = [
        item for item in events(DataDir(settings.data_dir), "main") if item != "settings.change"
    ]
    assert told[-2:] == ["journal.recover", "journal.close"]


def test_nobody_else_gets_onto_the_shared_port(
    settings: Settings, served: Process, start: Callable[..., Process]
) -> None:
    address = served.wait_for(r"https://([\d.:]+)   \(2 worker")[1]
    other = start(
        *("serve", "--data-dir", str(settings.data_dir), "--listen", address, "--workers", "2")
    )
    assert other.end() == 5, other.output
    assert "is in use by a running" in other.output


def test_a_worker_is_not_started_by_hand(start: Callable[..., Process]) -> None:
    process = Process("worker", "worker-1")
    process.kill()
    assert process.end() != 0


@pytest.mark.parametrize(
    ("reports", "silence", "failure"),
    [
        ([], 0, "worker-1 is starting"),
        ([""], 0, ""),
        (["disk full"], 0, "worker-1: disk full"),
        (["disk full", ""], 0, ""),
        ([""], SILENCE + 1, "worker-1 has not reported for 6 s"),
    ],
)
def test_what_is_wrong_with_a_worker(
    settings: Settings, reports: list[str], silence: float, failure: str
) -> None:
    clock = ManualClock()
    worker = Worker("worker-1", settings, clock, lambda pid: None)
    for trouble in reports:
        worker.report(json.dumps({"trouble": trouble}).encode())
    clock.advance(silence)
    assert worker.failure() == failure


@pytest.mark.parametrize(
    ("report", "state"),
    [
        ({"trouble": ""}, (Level.OK, "")),
        ({"level": "ok", "cause": ""}, (Level.OK, "")),
        ({"level": "closed", "cause": "disk full"}, (Level.CLOSED, "worker-1: disk full")),
        ({"level": "degraded", "cause": "4 % free"}, (Level.DEGRADED, "worker-1: 4 % free")),
    ],
)
def test_the_audit_state_of_a_worker(
    settings: Settings, report: dict[str, str], state: tuple[Level, str]
) -> None:
    worker = Worker("worker-1", settings, ManualClock(), lambda pid: None)
    worker.report(json.dumps(report).encode())
    assert worker.audit() == state
