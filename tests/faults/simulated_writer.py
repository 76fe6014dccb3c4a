"""The whole writer on a simulated disk: its queue, its thread and its loop, crashed at any moment.

Clients append to a `JournalWriter` and write down what was acknowledged. At chosen operations of
the disk the thread waits until the loop has done what it had to do, and states that a crash could
leave at that moment are tried: whatever was acknowledged by then must be there.
"""

import asyncio
import shutil
import tempfile
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from proxy.audit.journal import recovery, writer
from proxy.audit.journal.records import CorruptJournalError
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import JournalUnavailableError
from proxy.clock import ManualClock
from proxy.settings import Journal
from tests.audit.journals import NOW
from tests.faults.crash_states import quiet
from tests.faults.disk import EIO, Disk, DiskFile, Fault
from tests.faults.report import Report
from tests.faults.simulated_journal import sample
from tests.faults.simulated_oracle import Reader, Violation
from tests.faults.swapping import swapped

_MOMENTS: Final = 0.3
"""How many of the moments are looked at."""
_RETRY: Final = 0.005
"""Seconds between a writer's attempts; nothing is proved by waiting for longer."""
_SETTLE: Final = 5.0
"""Seconds the loop has to do what it had to do."""


class _InTurn:
    """A disk, or a file of it, whose operations exclude each other: the kernel's do, too.

    The journal's thread and that of its bookmarks use it at once, and none may change it while the
    other looks at the states it may be left in.
    """

    def __init__(self, inner: Any, lock: AbstractContextManager[Any]) -> None:
        self._inner = inner
        self._lock = lock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def operation(*given: Any, **named: Any) -> Any:
            with self._lock:
                made = found(*given, **named)
            return _InTurn(made, self._lock) if isinstance(made, DiskFile) else made

        return operation


@dataclass
class _Run:
    """One writer's life."""

    random: Random
    disk: Disk
    loop: asyncio.AbstractEventLoop
    directory: Path
    writer: str = ""
    acknowledged: dict[int, bytes] = field(default_factory=dict)
    """Sequence → body, as the clients wrote it down."""
    given: set[bytes] = field(default_factory=set)
    states: int = 0
    violations: list[str] = field(default_factory=list)
    trouble: float = 0.0

    def moment(self, _: str) -> None:
        """On the writer's thread, after an operation of the disk."""
        if self.violations or self.random.random() > _MOMENTS:
            return
        done = threading.Event()
        # Two turns: what the first lets run may acknowledge something.
        self.loop.call_soon_threadsafe(self.loop.call_soon, self.loop.call_soon, done.set)
        if not done.wait(_SETTLE):
            return
        promised = dict(self.acknowledged)
        for state in (
            *(sample(self.disk.power_cut(), self.random) for _ in range(3)),
            self.disk.kill(),
        ):
            self.states += 1
            try:
                self._check(state, promised)
            except (Violation, CorruptJournalError) as error:
                self.violations.append(str(error))

    def fault(self, kind: str, _: str) -> Fault | None:
        if kind in ("read", "open", "remove") or self.random.random() >= self.trouble:
            return None
        return Fault(EIO)

    def _check(self, disk: Disk, promised: dict[int, bytes]) -> None:
        found = recovery.recover(disk, self.directory, self.writer)
        skip = len(str(self.directory)) + 1
        files = {name[skip:]: inode.content() for name, inode in disk.entries.items()}
        seen = Reader().view(files)
        if seen.gap or seen.conflict or found.missing:
            raise Violation(seen.gap or seen.conflict or f"missing {found.missing}")
        told: set[bytes] = set()
        for text in seen.lines:
            body = text[text.index(b'","') + 3 : -1]
            if b'"kind":"Note"' in body and (body in told or body not in self.given):
                raise Violation(f"a record stands there twice or was never given: {text!r}")
            told.add(body)
        for seq, body in promised.items():
            if seq > len(seen.lines) or not seen.lines[seq - 1].endswith(body + b"}"):
                raise Violation(f"record {seq} was acknowledged, and is not there")


async def _live(seed: str, data_dir: Path) -> _Run:
    random = Random(seed)
    disk = Disk(ordered=random.random() < 0.3)
    run = _Run(random, disk, asyncio.get_running_loop(), data_dir / "journal" / "0")
    settings = Journal.model_construct(
        segment_bytes=random.choice((2000, 5000)),
        deadline=5.0,
        queue_bytes=1_000_000,
        queue_records=1000,
        reserve_bytes=0,
        break_glass_group="",
        unsafe_filesystem="allow",
    )
    journal = await JournalWriter.open(
        data_dir, "0", settings, clock=ManualClock(NOW), storage=_InTurn(disk, threading.RLock())
    )
    run.writer = (data_dir / "instance").read_text().strip() + "-0"
    disk.step, disk.fault = run.moment, run.fault
    run.trouble = random.choice((0.0, 0.0, 0.1, 0.3))
    numbers = count()

    async def client() -> None:
        for _ in range(10):
            body = b'"kind":"Note","number":%d,"text":"%b"' % (
                next(numbers),
                b"x" * random.choice((10, 300, 1500)),
            )
            run.given.add(body)
            try:
                run.acknowledged[await journal.append(body)] = body
            except JournalUnavailableError:
                await asyncio.sleep(0.002)
            if random.random() < 0.3:
                run.trouble = random.choice((0.0, 0.0, 0.3))

    await asyncio.gather(*(client() for _ in range(4)))
    run.trouble = 0.0
    await journal.close()
    await asyncio.to_thread(run.moment, "the end")
    return run


def crashed_writers(runs: int = 60, seed: int = 1, seconds: float = 55.0) -> Report:
    """`runs` writers in this process, or as many as `seconds` allow."""
    report = Report("crashed writers", seed, {"runs": 0, "states": 0, "acknowledged": 0})
    ends = time.monotonic() + seconds
    with quiet(), swapped((writer, "_RETRY", _RETRY)):
        for number in range(runs):
            data_dir = Path(tempfile.mkdtemp(prefix="kubewitness-writer-"))
            try:
                run = asyncio.run(_live(f"{seed}/{number}", data_dir))
            finally:
                shutil.rmtree(data_dir)
            report.counts["runs"] = number + 1
            report.counts["states"] = int(report.counts["states"]) + run.states
            report.counts["acknowledged"] = int(report.counts["acknowledged"]) + len(
                run.acknowledged
            )
            report.violations += [f"writer {seed}/{number}: {text}" for text in run.violations]
            if report.violations or time.monotonic() > ends:
                break
    return report
