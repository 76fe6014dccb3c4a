"""A fork server: everything is imported and made once, then a proxy is a fork away.

Usage: python -m tests.faults.fork_server SCENE API_PORT SOCKET SETTINGS BUG

A cold start costs most of a second, a fork a few milliseconds. No thread and no loop exists here
when it forks. Commands on standard input, answers as JSON lines:

    kill COUNT SEED LONGEST   so many proxies, each killed after a random time of at most LONGEST s
    fork CONTROL              a proxy that the rig talks to, see tests.faults.controlled
    fill BYTES                a writer that leaves a journal of that size, killed at its end
    end                       one more proxy, which recovers and ends in good order
"""

import asyncio
import contextlib
import gc
import json
import os
import random
import select
import signal
import socket
import sys
import time
from pathlib import Path

import uvloop

from proxy import logs
from proxy.audit.event import SystemEvent, body, new_id
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import rfc3339
from proxy.runtime.process import prepare
from proxy.settings import Settings
from tests.audit.journals import a_call, intent, outcome
from tests.faults import controlled, planted_process
from tests.faults.proxy_process import serving
from tests.faults.scene import Scene

STARTING = 0.1
"""Share of the proxies that are killed while they start: recovery must bear that too."""
START_TIMEOUT = 30.0


class ForkServer:
    """Makes proxies and kills them."""

    def __init__(
        self, scene: Scene, settings: Settings, api_port: int, sock: socket.socket
    ) -> None:
        self._scene = scene
        self._settings = settings
        self._api_port = api_port
        self._socket = sock
        self._context = scene.proxy_context()

    def kill(self, chance: random.Random, longest: float) -> dict[str, object]:
        """One cycle: recovery, load, SIGKILL."""
        began = time.monotonic()
        pid, ready = self._fork()
        said: str | None = None
        started = 0.0
        try:
            if chance.random() < STARTING:
                time.sleep(chance.random() * 0.02)
            else:
                said = self._said(ready)
                started = time.monotonic() - began
                time.sleep(chance.random() * longest)
        finally:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            os.close(ready)
        result: dict[str, object] = {"started": started, "seconds": time.monotonic() - began}
        if said is not None and said != "ready":
            result["trouble"] = said or "no answer"
        elif not os.WIFSIGNALED(status):
            result["trouble"] = f"the proxy ended by itself: status {status}"
        return result

    def fill(self, size: int) -> dict[str, object]:
        """Leave a large journal, as a proxy would that is killed after long work."""
        began = time.monotonic()
        pid, ready = self._fork(size)
        said = self._said(ready, 120)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        result: dict[str, object] = {"seconds": time.monotonic() - began}
        if said != "ready":
            result["trouble"] = said
        return result

    def end(self) -> dict[str, object]:
        """Recover, then end in good order."""
        began = time.monotonic()
        pid, ready = self._fork()
        said = self._said(ready)
        started = time.monotonic() - began
        if said == "ready":
            os.kill(pid, signal.SIGTERM)
        else:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(ready)
        result: dict[str, object] = {"started": started, "seconds": time.monotonic() - began}
        if said != "ready" or status != 0:
            result["trouble"] = f"{said or 'no answer'}, status {status}"
        return result

    def controlled(self, path: str) -> None:
        """A proxy for the rig; it is the rig's from then on."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # those before it
        if os.fork() == 0:
            try:
                controlled.obey(self._scene, self._api_port, self._socket, path, self._context)
            finally:
                os._exit(0)

    @staticmethod
    def _said(ready: int, timeout: float = START_TIMEOUT) -> str:
        if not select.select([ready], [], [], timeout)[0]:
            return f"not ready within {timeout:g} s"
        return os.read(ready, 4096).decode()

    def _fork(self, fill: int = 0) -> tuple[int, int]:
        ready, write = os.pipe()
        pid = os.fork()
        if pid:
            os.close(write)
            return pid, ready
        status = 1
        try:
            os.close(ready)
            uvloop.run(self._fill(write, fill) if fill else self._serve(write))
            status = 0
        except BaseException as error:  # noqa: BLE001  # the parent must hear of it
            with contextlib.suppress(OSError):
                os.write(write, f"{type(error).__name__}: {error}".encode()[:4000])
        finally:
            os._exit(status)

    async def _serve(self, ready: int) -> None:
        prepare()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        async with serving(
            self._scene, self._settings, self._api_port, self._socket, context=self._context
        ):
            os.write(ready, b"ready")
            await stop.wait()

    async def _fill(self, ready: int, size: int) -> None:
        """Whole calls, but for a few that stay open."""
        journal = await JournalWriter.open(self._scene.data_dir, "0", Settings().journal)
        call = a_call()
        whole = [body.split(call.audit_id.encode()) for body in (intent(call), outcome(call))]
        written, number = 0, 0
        while written < size:
            for _ in range(1000):
                number += 1
                audit_id = b"0190b0a0-0000-7000-8000-%012d" % number
                for before, after in whole if number % 100_000 else whole[:1]:
                    body = before + audit_id + after
                    written += len(body)
                    journal.post(body)
            await journal.append(body_of_event())
        os.write(ready, b"ready")
        await asyncio.Event().wait()


def body_of_event() -> bytes:
    """A record that is no call's."""
    return body(SystemEvent(event_id=new_id(1.8e9), stage_timestamp=rfc3339(1.8e9), action="fill"))


def main() -> None:
    directory, api_port, descriptor, settings, bug = sys.argv[1:6]
    logs.configure("error", "json", Path(directory, "proxy.log").open("a"))  # noqa: SIM115
    scene = Scene(Path(directory))
    server = ForkServer(
        scene,
        scene.settings(**json.loads(settings)),
        int(api_port),
        socket.socket(fileno=int(descriptor)),
    )
    with planted_process.planted(bug):
        gc.collect()
        gc.freeze()
        for line in sys.stdin:
            words = line.split()
            if words[0] == "kill":
                chance = random.Random(int(words[2]))
                for _ in range(int(words[1])):
                    print(json.dumps(server.kill(chance, float(words[3]))))
                print("done", flush=True)
            elif words[0] == "fork":
                server.controlled(words[1])
            elif words[0] == "fill":
                print(json.dumps(server.fill(int(words[1]))), flush=True)
            else:
                print(json.dumps(server.end()), flush=True)


if __name__ == "__main__":
    main()
