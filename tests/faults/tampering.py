"""Tampering rig: the journal's file is deleted, replaced, cut or its disk made read-only, under load.

Each time it must be noticed with the next batch: the records of that batch are refused and there
is a record of what happened. What can be saved is: after a deletion or a replacement every
acknowledged record is still there, because the proxy has the file open. What was cut off is gone;
the journal then says which sequences are missing.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.oracle import Tail
from tests.faults.report import Report
from tests.faults.rigging import Proxy, Rig, rig
from tests.faults.volumes import Volume, is_root

NEEDS_ROOT = "making a file system read-only needs root; run the rig as root"
NOTICED_WITHIN = 1.0
HEALED_WITHIN = 1.0
CI = 12
RELEASE = 1_000
SAVED = ("delete", "replace", "move")
_HEAL = b'"action":"journal.heal"'
_TRAILER = b'\n{"kind":"Batch",'


def run(times: int = CI, seed: int = 1, ways: tuple[str, ...] = SAVED) -> Report:
    """Take the segment away so many times."""
    cutting = "truncate" in ways
    report = Report("truncated journal" if cutting else "taken away journal", seed)
    with rig(report) as here:
        proxy = here.proxy()
        journal = {"segment_bytes": 1 << 20, "reserve_bytes": 0}
        proxy.go(settings={"journal": journal}, breakable=False)
        here.oracle.answers = []
        here.clients("writes", 3, pause=0.005)
        here.clients("reads", 2, pause=0.005)
        here.under_way()
        noticed: list[float] = []
        cut: list[int] = []
        for number in range(times):
            way = here.chance.choice(ways)
            noticed.append(_tampered(here, proxy, way, number, here.scene.journal, cut))
            report.counts[way] = int(report.counts.get(way, 0)) + 1
            if here.oracle.violations:
                break
            time.sleep(here.chance.random() * 0.1)
        here.processes.end_clients()
        report.counts["noticed after s (max)"] = round(max(noticed), 3)
        proxy.end()
        if cutting:
            _says_what_is_missing(here, report, times, cut)
        elif not here.oracle.violations:
            here.oracle.check(final=True)
            _told(here, report, times)
    return report


def _being_written(journal: Path) -> Path:
    """The newest segment, while it has room: one that is left at this moment is nobody's any more."""
    while True:
        segment = max(path for path in journal.iterdir() if path.name.endswith(".jsonl"))
        content = segment.read_bytes()
        if 0 <= content.find(b"\0") < len(content) // 2:
            return segment
        time.sleep(0.005)


def _tampered(
    here: Rig, proxy: Proxy, way: str, number: int, journal: Path, cut: list[int]
) -> float:
    """Do it, and wait until somebody was refused for it and somebody else goes on.

    How many words about earlier cuts are cut away is added to `cut`.
    """
    oracle = here.oracle
    assert oracle.answers is not None
    segment = _being_written(journal)
    oracle.hear()
    oracle.answers.clear()
    began = time.monotonic()
    with _stopped(proxy):
        _do(way, segment, number, cut)
    refused = 0.0
    while not refused and time.monotonic() < began + 3:
        time.sleep(0.003)
        oracle.hear()
        refused = min(
            # What is heard only now may have been refused for the last time's sake.
            (
                told.began + told.ms / 1000
                for told in oracle.answers
                if told.status == 503 and told.began + told.ms / 1000 > began
            ),
            default=0,
        )
    if not refused:
        oracle.violations.say(f"{way} of {segment.name}: nobody was refused within 3 s")
        return 3.0
    for told in oracle.answers:
        if told.status == 503 and not told.withheld and told.target in oracle.effects_of:
            oracle.violations.say(f"{told.target}: refused, and executed")
    healed = here.good_after(began, refused)
    if refused - began > NOTICED_WITHIN or healed > HEALED_WITHIN:
        oracle.violations.say(
            f"{way} of {segment.name}: noticed after {refused - began:.2f} s, healed after "
            f"{healed:.2f} s more"
        )
    return refused - began


@contextmanager
def _stopped(proxy: Proxy) -> Iterator[None]:
    """All threads stand still: what they write between our look and our cut would be cut away,
    too, and nobody would have counted it."""
    os.kill(proxy.pid, signal.SIGSTOP)
    try:
        tasks = Path(f"/proc/{proxy.pid}/task")
        while any(
            (task / "stat").read_text().rpartition(")")[2].split()[0] != "T"
            for task in tasks.iterdir()
        ):
            time.sleep(0.0005)
        yield
    finally:
        os.kill(proxy.pid, signal.SIGCONT)


def _do(way: str, segment: Path, number: int, cut: list[int]) -> None:
    match way:
        case "delete":
            segment.unlink()
        case "move":
            segment.rename(segment.with_name(f"taken-{number}"))
        case "replace":
            other = segment.with_name(f"other-{number}")
            other.write_bytes(segment.read_bytes()[:4096])
            other.rename(segment)
        case "truncate":
            content = segment.read_bytes()
            written = content.find(b"\0")
            os.truncate(segment, written // 2)
            cut.append(content.count(_HEAL) - _whole(content[: written // 2]).count(_HEAL))
        case _:
            raise ValueError(way)


def _whole(content: bytes) -> bytes:
    """Its whole batches: what is left of another one is cut away by the proxy itself."""
    lines = content[: content.rfind(b"\n") + 1]
    return lines[: lines.find(b"\n", lines.rfind(_TRAILER) + 1) + 1] if _TRAILER in lines else b""


def _told(here: Rig, report: Report, times: int) -> None:
    """Each time there must be a system event that says what happened."""
    heals = [event for event in here.oracle.system if event["action"] == "journal.heal"]
    report.counts["heals on record"] = len(heals)
    if len(heals) < times:
        here.oracle.violations.say(f"{times} times tampered, {len(heals)} times on record")


def _says_what_is_missing(here: Rig, report: Report, times: int, cut: list[int]) -> None:
    """Cut records cannot come back; the effects and the calls that follow are still as they were."""
    text = b"".join(path.read_bytes() for path in here.scene.journal.glob("*.jsonl"))
    heals = text.count(_HEAL)
    report.counts["heals on record"] = heals
    # What was said about one cut may be cut away by the next.
    report.counts["heals cut away again"] = again = sum(cut)
    lost = {
        line.split()[2]
        for path in here.scene.directory.glob("client-*.log")
        for line in Tail(path).lines()
        if line.startswith("A ")
        and line.split()[3] != "503"
        and line.split()[2].encode() not in text
    }
    report.counts["acknowledged calls cut away"] = len(lost)
    if heals + again < times:
        here.oracle.violations.say(f"{times} times cut, {heals} times on record")


def run_read_only(times: int = 2, seed: int = 1) -> Report:
    """An ext4 of its own meets an error and remounts itself read-only, under load; needs root."""
    report = Report("read-only disk", seed)
    if not is_root():
        report.violations.append(NEEDS_ROOT)
        return report
    noticed = []
    for _ in range(times):
        with rig(report) as here:
            noticed.append(_read_only(here))
    report.counts["remounts"] = times
    report.counts["noticed after s (max)"] = round(max(noticed), 3)
    return report


def _read_only(here: Rig) -> float:
    with Volume.ext4(here.scene, 256, ",errors=remount-ro") as volume:
        oracle = here.oracle
        oracle.move(volume.seen(here.scene.journal))
        oracle.answers = []
        proxy = here.started(volume.enter)
        proxy.go(settings={"journal": {"reserve_bytes": 0}}, breakable=False)
        here.clients("writes", 3, pause=0.005)
        here.clients("reads", 2, pause=0.005)
        here.under_way()
        began = time.monotonic()
        volume.break_ext4()
        while not proxy.ask("status")["failure"] and time.monotonic() < began + 3:
            time.sleep(0.005)
        noticed = time.monotonic() - began
        oracle.hear()
        oracle.answers.clear()
        time.sleep(0.5)
        oracle.hear()
        for told in oracle.answers:
            if told.began > began + noticed and (
                told.status != 503 or told.target in oracle.arrived
            ):
                oracle.violations.say(f"{told.target}: answered {told.status} on a read-only disk")
        if noticed > NOTICED_WITHIN:
            oracle.violations.say(f"a read-only disk was noticed only after {noticed:.2f} s")
        here.processes.end_clients()
        proxy.kill()
        oracle.check()
    return noticed


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else CI
    print(run(number))
    print(run(number, ways=("truncate",)))
    print(run_read_only())
