"""What the tests of the record share: a storage that fails on demand, and plain events."""

import asyncio
import errno
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proxy.audit.event import (
    Call,
    ObjectRef,
    Progress,
    ResponseStatus,
    Stage,
    User,
    describe,
    new_id,
    stage,
)
from proxy.audit.journal.storage import FileStorage, SegmentFile
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import Clock
from proxy.settings import Journal
from tests.audit.reading import records

NOW = 1_800_000_000.0


class FaultyFile:
    """A file whose writes and syncs can be refused or held up by its storage."""

    def __init__(self, inner: SegmentFile, storage: "FaultyStorage", number: int) -> None:
        self._inner = inner
        self._storage = storage
        self._number = number

    def write(self, data: bytes, offset: int) -> None:
        self._storage.happen("write", self._number)
        if self._storage.torn:
            self._inner.write(data[: len(data) // 2], offset)
            raise OSError(5, "Input/output error")
        self._inner.write(data, offset)

    def sync(self) -> None:
        self._storage.happen("sync", self._number)
        self._inner.sync()

    def read(self, offset: int, size: int) -> bytes:
        return self._inner.read(offset, size)

    def truncate(self, size: int) -> None:
        self._inner.truncate(size)

    def misplaced(self, size: int) -> str:
        return self._inner.misplaced(size)

    def close(self) -> None:
        self._inner.close()


class FaultyStorage(FileStorage):
    """Real files; `fail` names the operations that raise, `hold` stops syncs while cleared.

    Files are numbered in the order they were made, whatever they are called.
    """

    def __init__(self) -> None:
        self.fail: dict[str, OSError] = {}
        self.torn = False
        self.log: list[tuple[str, int]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.waiting = threading.Event()
        self._files = 0
        self._numbers: dict[Path, int] = {}

    def happen(self, what: str, number: int) -> None:
        self.log.append((what, number))
        if what == "sync" and not self.hold.is_set():
            self.waiting.set()
            self.hold.wait(10)
        for key in (what, f"{what} {number}"):
            if key in self.fail:
                raise self.fail[key]

    def create(self, path: Path, size: int) -> SegmentFile:
        self.happen("create", self._files + 1)
        inner = super().create(path, size)
        self._files += 1
        self._numbers[path] = self._files
        return FaultyFile(inner, self, self._files)

    def open(self, path: Path) -> SegmentFile:
        self.happen("open", self._numbers.get(path, 0))
        return FaultyFile(super().open(path), self, self._numbers.get(path, 0))

    def rename(self, source: Path, target: Path) -> None:
        self.happen("rename", self._numbers.get(source, 0))
        super().rename(source, target)
        self._numbers[target] = self._numbers.pop(source, 0)


class SmallDisk(FaultyStorage):
    """A disk with `room` bytes for the files of a directory."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def create(self, path: Path, size: int) -> SegmentFile:
        if sum(file.stat().st_size for file in path.parent.iterdir()) + size > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create(path, size)


def settings(**given: float) -> Journal:
    return Journal.model_validate({"segment_bytes": 64 * 1024, "reserve_bytes": 0, **given})


@asynccontextmanager
async def writing(
    data_dir: Path, disk: FileStorage, clock: Clock, **given: float
) -> AsyncIterator[JournalWriter]:
    journal = await JournalWriter.open(data_dir, "0", settings(**given), clock=clock, storage=disk)
    try:
        yield journal
    finally:
        if isinstance(disk, FaultyStorage):
            disk.fail.clear()
            disk.hold.set()
        await journal.close()


def note(text: object) -> bytes:
    return b'"note":%b' % json.dumps(str(text)).encode()


def notes(data_dir: Path) -> list[str]:
    return [record["note"] for record in records(data_dir) if "note" in record]


def actions(data_dir: Path) -> list[str]:
    return [record["action"] for record in records(data_dir) if "action" in record]


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


def crash(journal: JournalWriter) -> None:
    """Leave the journal as a process that dies: no seal, and the lock is gone."""
    journal._stop()
    journal._unlock()


def a_call(**given: Any) -> Call:
    """A plain `kubectl get pod web-0`, with what a test wants to differ."""
    members: dict[str, Any] = {
        "audit_id": new_id(NOW),
        "request_received_timestamp": "2027-01-15T08:00:00.000000Z",
        "source_ips": ("10.0.0.1",),
        "user": User("alice", groups=("dev",)),
        "verb": "get",
        "http_method": "GET",
        "request_uri": "/api/v1/namespaces/shop/pods/web-0",
        "cluster": "prod",
        "call_class": "read",
        "object_ref": ObjectRef("pods", "shop", "web-0", "", "v1"),
    }
    return Call(**{**members, **given})


def intent(call: Call, at: float = NOW) -> bytes:
    return stage(describe(call), Stage.REQUEST_RECEIVED, at)


def outcome(call: Call, at: float = NOW, code: int = 200, **given: Any) -> bytes:
    progress = Progress(ResponseStatus(code), **given)
    return stage(describe(call), Stage.RESPONSE_COMPLETE, at, progress)
