"""Clients that leave at random instants, in a process of their own.

Usage: python -m tests.faults.cutter SCENE PORT LOG SEED THREADS COUNT

Each connection ends in one phase of a call: in the handshake, the head, the body, while the cluster
works, in the answer, in a stream, in an upgraded stream; with a FIN or a RST. `LOG` gets
`S <target> <kind>` for each request that was at least begun, `C <phase>` for each cut.
"""

import contextlib
import os
import random
import socket
import ssl
import struct
import sys
import threading
import time
from pathlib import Path

from tests.faults.client import encode, request
from tests.faults.scene import Scene

PHASES = ["handshake", "head", "body", "waiting", "answer", "stream", "upgrade"]
_KINDS = {
    "head": ["get", "create"],
    "body": ["upload", "chunked"],
    "waiting": ["get", "create", "delete", "patch"],
    "answer": ["large", "events", "get"],
    "stream": ["watch"],
    "upgrade": ["exec"],
}


class Cutter:
    """One thread."""

    def __init__(
        self, scene: Scene, port: int, log: int, name: str, seed: int, context: ssl.SSLContext
    ) -> None:
        self._scene = scene
        self._port = port
        self._log = log
        self._name = name
        self._chance = random.Random(seed)
        self._context = context
        self._number = 0

    def run(self, count: int) -> None:
        for _ in range(count):
            phase = self._chance.choice(PHASES)
            plain = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            with contextlib.suppress(OSError):  # we did not get as far; a cut is a cut
                self._until(phase, plain)
            os.write(self._log, f"C {phase}\n".encode())

    def _until(self, phase: str, plain: socket.socket) -> None:
        chance = self._chance
        if chance.random() < 0.5:  # RST instead of FIN
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with plain:
            if phase == "handshake":
                self._greet(plain)
                return
            sock = self._context.wrap_socket(plain, server_hostname="localhost")
            with sock:
                self._number += 1
                kind = chance.choice(_KINDS[phase])
                method, target, body = request(kind, f"{self._name}-{self._number}")
                data = encode(method, target, body, chunked=kind == "chunked")
                if kind == "exec":
                    data = data[:-2] + b"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
                os.write(self._log, f"S {target} {kind} {time.monotonic():.6f}\n".encode())
                self._call(phase, sock, data)

    def _greet(self, plain: socket.socket) -> None:
        """A piece of a handshake: of the first flight, or no answer to the second."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        half = self._context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            half.do_handshake()
        hello = outgoing.read()
        plain.sendall(hello[: self._chance.randrange(len(hello) + 1)])
        self._wait(0.002)

    def _call(self, phase: str, sock: ssl.SSLSocket, data: bytes) -> None:
        chance = self._chance
        head = data.index(b"\r\n\r\n") + 4
        if phase == "head":
            sock.sendall(data[: chance.randrange(1, head)])
        elif phase == "body":
            sock.sendall(data[: chance.randrange(head, len(data))])
        else:
            sock.sendall(data)
        if phase in {"answer", "stream", "upgrade"}:
            sock.recv(chance.choice([1, 100, 20_000]))
        if phase == "upgrade":
            sock.sendall(b"x" * chance.randrange(1, 2000))
        self._wait(0.006 if phase == "stream" else 0.003)

    def _wait(self, longest: float) -> None:
        if self._chance.random() < 0.7:
            time.sleep(self._chance.random() * longest)


def main() -> None:
    directory, port, path, seed, threads, count = sys.argv[1:7]
    scene = Scene(Path(directory))
    log = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    context = scene.client_context("alice")
    running = []
    for index in range(int(threads)):
        cutter = Cutter(scene, int(port), log, f"a{seed}-{index}", int(seed) * 100 + index, context)
        share = int(count) // int(threads)
        running.append(threading.Thread(target=cutter.run, args=(share,), daemon=True))
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print("done", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
