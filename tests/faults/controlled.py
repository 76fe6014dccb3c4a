"""A proxy that a rig talks to: it breaks its own disk, and says how it feels.

Usage: python -m tests.faults.controlled SCENE API_PORT SOCKET CONTROL

Also what the fork server forks. It connects to the Unix socket CONTROL, says its process id, waits
for `go`, serves, and answers each command (one JSON object a line) with one object:

    go       start; `settings`, `bug`; `short`: which write takes only half; `steady`: see `steady`
    fail     refuse disk operations: `what` (write, sync, create, …), `errno`
    hold     let syncs hang
    heal     end both
    level    bring the embedded databases level with the journal
    status   failure, level, RSS, the longest stall of the loop since the last look, how long in
             all the machine had no processor for it, and when the disk last began to refuse
    end      drain, close, leave
"""

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvloop

from proxy import logs
from proxy.audit.journal import waiting
from proxy.audit.journal.storage import FileStorage, SegmentFile
from proxy.runtime.process import prepare
from proxy.tasks import spawn
from tests.bench.measure import resident
from tests.faults import planted_process
from tests.faults.proxy_process import Serving, serving
from tests.faults.scene import Scene
from tests.faults.swapping import swapped

_PR_SET_PTRACER = 0x59616D61
_HELD_AT_MOST = 3600.0
_LOOK = 0.002
"""Seconds between looks at the loop's own lateness."""


class BreakableStorage(FileStorage):
    """Real files; what `fail` names is refused, and syncs hang while `held`."""

    def __init__(self) -> None:
        self.fail: dict[str, int] = {}
        self.failed_at = 0.0
        """When the first operation was refused, of those since `fail` was set (monotonic)."""
        self.free = threading.Event()
        self.free.set()

    def happen(self, what: str) -> None:
        if what == "sync" and not self.free.is_set():
            self.free.wait(_HELD_AT_MOST)
        error = self.fail.get(what)
        if error is not None:
            self.failed_at = self.failed_at or time.monotonic()
            raise OSError(error, os.strerror(error))

    def create(self, path: Path, size: int) -> SegmentFile:
        self.happen("create")
        return BreakableFile(super().create(path, size), self)

    def open(self, path: Path) -> SegmentFile:
        self.happen("open")
        return BreakableFile(super().open(path), self)

    def rename(self, source: Path, target: Path) -> None:
        self.happen("rename")
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self.happen("sync_directory")
        super().sync_directory(path)


class BreakableFile:
    """One open file of such a storage."""

    def __init__(self, inner: SegmentFile, storage: BreakableStorage) -> None:
        self._inner = inner
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: bytes, offset: int) -> None:
        self._storage.happen("write")
        self._inner.write(data, offset)

    def sync(self) -> None:
        self._storage.happen("sync")
        self._inner.sync()


class ShortWrite:
    """`os.pwrite` that takes only half of what it is given, once: what the kernel may always do.

    Of calls on `path`, the `number`th; `said` is made when it has happened.
    """

    def __init__(self, path: str, number: int, said: Path) -> None:
        self._path = path
        self._left = number
        self._said = said
        self._sound = os.pwrite

    def __call__(self, descriptor: int, data: Any, offset: int) -> int:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()) == self._path:
            self._left -= 1
            if self._left == 0:
                data = memoryview(data)[: len(data) // 2]
                self._said.touch()
        return self._sound(descriptor, data, offset)


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """The same system calls in every run: each record is a batch of its own, whatever else waits,
    and blocking work is done by one thread, so that whoever counts by thread counts the same."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1, "work"))
    with swapped((waiting, "BATCH_RECORDS", 1)):
        yield


class Controlled:
    """The proxy's side of the conversation."""

    def __init__(self, scene: Scene, api_port: int, sock: socket.socket, context: Any) -> None:
        self._scene = scene
        self._api_port = api_port
        self._socket = sock
        self._context = context
        self._storage = BreakableStorage()
        self._stall = 0.0
        self._stolen = _stolen()

    async def run(self, go: dict[str, Any], control: socket.socket) -> None:
        """Serve, and answer what is asked, until told to end."""
        prepare()
        settings = self._scene.settings(**go.get("settings", {}))
        if "short" in go:
            path, number = go["short"]
            os.pwrite = ShortWrite(path, number, self._scene.directory / "cut-short")
        storage = self._storage if go.get("breakable", True) else FileStorage()
        reader, writer = await asyncio.open_unix_connection(sock=control)
        async with contextlib.AsyncExitStack() as stack:
            if go.get("steady"):
                stack.enter_context(steady())
            here = await stack.enter_async_context(
                serving(
                    self._scene,
                    settings,
                    self._api_port,
                    self._socket,
                    storage=storage,
                    context=self._context,
                    embedded=go.get("embedded", False),
                )
            )
            writer.write(b'{"ready":true}\n')
            watch = spawn(self._watch(), name="watch the loop")
            while line := await reader.readline():
                command = json.loads(line)
                if command["do"] == "end":
                    break
                if command["do"] == "level":
                    await here.level()
                writer.write(json.dumps(self._obey(command, here)).encode() + b"\n")
            watch.cancel()
            self._storage.fail.clear()
            self._storage.free.set()
        writer.write(b'{"ended":true}\n')
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    def _obey(self, command: dict[str, Any], here: Serving) -> dict[str, Any]:
        match command["do"]:
            case "fail":
                self._storage.failed_at = 0.0
                self._storage.fail = dict.fromkeys(command["what"], command["errno"])
            case "hold":
                self._storage.free.clear()
            case "heal":
                self._storage.fail = {}
                self._storage.free.set()
            case "status" | "level":
                pass
            case other:
                raise ValueError(other)
        stolen = _stolen()
        status = {
            "at": time.monotonic(),
            "failure": here.journal.failure,
            "rss": resident(os.getpid()),
            "stall_ms": round(max(self._stall - (stolen - self._stolen), 0) * 1000, 2),
            "pushed_aside_ms": round(_pushed_aside() * 1000, 2),
            "failed_at": self._storage.failed_at,
        }
        self._stall, self._stolen = 0.0, stolen
        return status

    async def _watch(self) -> None:
        """How late the loop is, at worst, when it could have run."""
        while True:
            due, aside = time.monotonic() + _LOOK, _pushed_aside()
            await asyncio.sleep(_LOOK)
            late = time.monotonic() - due - (_pushed_aside() - aside)
            self._stall = max(self._stall, late)


def _pushed_aside() -> float:
    """Seconds that this thread was ready and other processes had the processor (sched-stats)."""
    waited = Path("/proc/thread-self/schedstat").read_bytes().split()[1]
    return int(waited) / 1e9


def _stolen() -> float:
    """Seconds that the machine itself was not given by what it runs on (proc(5), `steal`)."""
    with Path("/proc/stat").open() as file:
        return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def obey(scene: Scene, api_port: int, sock: socket.socket, path: str, context: Any = None) -> None:
    """Connect to the rig, wait for `go`, and serve until the end. Blocking."""
    # An ordinary user's strace may attach to us, whatever Yama says.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1 & (2**64 - 1)), 0, 0, 0)
    control = socket.socket(socket.AF_UNIX)
    control.connect(path)
    control.sendall(json.dumps({"pid": os.getpid()}).encode() + b"\n")
    data = b""
    while not data.endswith(b"\n"):
        more = control.recv(65536)
        if not more:
            return
        data += more
    go = json.loads(data)
    context = context or scene.proxy_context()
    with planted_process.planted(go.get("bug", "")):
        try:
            uvloop.run(Controlled(scene, api_port, sock, context).run(go, control))
        except Exception as error:  # noqa: BLE001  # the rig must hear of it
            with contextlib.suppress(OSError):
                said = {"trouble": f"{type(error).__name__}: {error}"}
                control.sendall(json.dumps(said).encode() + b"\n")


def main() -> None:
    directory, api_port, descriptor, path = sys.argv[1:5]
    logs.configure("error", "json", Path(directory, "proxy.log").open("a"))  # noqa: SIM115
    sock = socket.socket(fileno=int(descriptor))
    obey(Scene(Path(directory)), int(api_port), sock, path)


if __name__ == "__main__":
    main()
