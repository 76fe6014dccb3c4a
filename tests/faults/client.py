"""Clients in a process of their own: they log what was acknowledged before they use it.

Usage: python -m tests.faults.client SCENE PORT LOG SEED THREADS USER MIX [PAUSE [RATE]]

A pause is seconds at most between two calls of a thread; a rate is calls a second of all threads.

`LOG` gets one line per fact, each in one write:

    S <target> <kind> <when>            about to be sent; CLOCK_MONOTONIC
    B <target> <audit id> <status> …    an answer began (the 101 of an upgrade)
    A <target> <audit id> <status> …    an answer was complete: bytes, ms it took, CLOCK_MONOTONIC
                                        when it was sent, `withheld` when only the answer was refused
    T <target> <ms>                     nothing came for too long
    X <target>                          the connection was cut before the answer was whole

Each target is used once, so it names its call. Runs until standard input ends. Blocking sockets in
threads: a cut connection and one that was closed in good order must not look the same, and here
they do not (an end without TLS close_notify is an error).
"""

import os
import random
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httptools

from tests.faults.scene import Scene

PATIENCE = 10.0
"""Seconds after which a silent proxy is reported."""
KINDS = {
    "mixed": [
        "get",
        "create",
        "delete",
        "patch",
        "chunked",
        "large",
        "events",
        "watch",
        "exec",
        "pipeline",
    ],
    "writes": ["create", "delete", "patch"],
    "reads": ["get"],
    "small": ["get", "create"],
}
"""What a client does, in random order, by the name of the mix."""


@dataclass
class Answer:
    """What came back for one request."""

    status: int = 0
    audit_id: str = "-"
    size: int = 0
    body: bytes = b""


class Reader:
    """Reads answers off a socket, one message at a time."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self._complete: list[Answer] = []
        self.keep_alive = True

    def on_message_begin(self) -> None:
        self._answer = Answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"audit-id":
            self._answer.audit_id = value.decode()
        elif name.lower() == b"connection" and value.lower() == b"close":
            self.keep_alive = False

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._answer.size += len(body)
        if len(self._answer.body) < 4096:
            self._answer.body += body

    def on_message_complete(self) -> None:
        self._complete.append(self._answer)

    def next(self) -> Answer:
        """The next complete answer; of an upgrade, its head. Raises OSError when cut."""
        while not self._complete:
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionResetError("closed")
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade:
                return self._answer
        return self._complete.pop(0)


@dataclass
class Connection:
    """One connection and what is to be read from it."""

    sock: ssl.SSLSocket
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = Reader(self.sock)


@dataclass
class Client:
    """One thread: a connection, used until it breaks, then another."""

    scene: Scene
    port: int
    log: int
    name: str
    chance: random.Random
    context: ssl.SSLContext
    kinds: list[str]
    pause: float = 0.0
    every: float = 0.0
    """Seconds from one call's begin to the next; whoever is late catches up. 0: without a rate."""
    patience: float = PATIENCE
    pad: str = ""
    """More query for each target; makes its records longer."""
    stopping: threading.Event = field(default_factory=threading.Event)
    number: int = 0
    pending: list[str] = field(default_factory=list)
    """Targets that were sent and not answered yet."""

    def say(self, line: str) -> None:
        os.write(self.log, line.encode() + b"\n")

    def run(self) -> None:
        began = time.monotonic()
        while not self.stopping.is_set():
            try:
                connection = self.connect()
            except OSError:
                continue
            self.pending = []
            try:
                while not self.stopping.is_set() and connection.reader.keep_alive:
                    self.step(connection)
                    if self.pause:
                        self.stopping.wait(self.pause * self.chance.random())
                    if self.every:
                        self.stopping.wait(
                            max(0.0, began + self.number * self.every - time.monotonic())
                        )
            except OSError:
                for target in self.pending:
                    self.say(f"X {target}")
            finally:
                connection.sock.close()

    def connect(self) -> Connection:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=self.patience)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return Connection(
                self.context.wrap_socket(
                    plain, server_hostname="localhost", suppress_ragged_eofs=False
                )
            )
        except OSError:
            plain.close()
            raise

    def step(self, connection: Connection) -> None:
        kind = self.chance.choice(self.kinds)
        if kind == "exec":
            self.exec(connection)
            return
        kinds = [kind]
        if kind == "pipeline":
            kinds = [self.chance.choice(["get", "create", "large"]) for _ in range(3)]
        sent = []
        data = b""
        for one in kinds:
            method, target, body = self.request(one)
            self.say(f"S {target} {one} {time.monotonic():.6f}")
            sent.append(target)
            self.pending.append(target)
            data += encode(method, target, body, chunked=one == "chunked")
        began = time.monotonic()
        connection.sock.sendall(data)
        for target in sent:
            self.answered(connection, target, began)

    def answered(
        self, connection: Connection, target: str, began: float, word: str = "A"
    ) -> Answer:
        try:
            answer = connection.reader.next()
        except TimeoutError:
            self.say(f"T {target} {(time.monotonic() - began) * 1000:.0f}")
            raise
        ms = (time.monotonic() - began) * 1000
        withheld = "withheld" if answer.status == 503 and b"has answered" in answer.body else "-"
        self.say(
            f"{word} {target} {answer.audit_id} {answer.status} {answer.size} {ms:.1f} "
            f"{began:.6f} {withheld}"
        )
        if word == "A":
            self.pending.remove(target)
        return answer

    def exec(self, connection: Connection) -> None:
        method, target, _ = self.request("exec")
        self.say(f"S {target} exec {time.monotonic():.6f}")
        self.pending.append(target)
        connection.reader.keep_alive = False
        began = time.monotonic()
        connection.sock.sendall(
            f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n".encode()
        )
        answer = self.answered(connection, target, began, "B")
        if answer.status != 101:
            return
        count = 0
        for message in (b"hello", b"bye"):
            connection.sock.sendall(message)
            count += self.echoed(connection, len(message))
        if connection.sock.recv(100) == b"":  # close_notify: the end is on record
            self.say(f"A {target} {answer.audit_id} 101 {count} 0 0 -")
            self.pending.remove(target)

    @staticmethod
    def echoed(connection: Connection, size: int) -> int:
        count = 0
        while count < size:
            data = connection.sock.recv(4096)
            if not data:
                raise ConnectionResetError("closed")
            count += len(data)
        return count

    def request(self, kind: str) -> tuple[str, str, bytes]:
        """(method, target, body) of a call that was never made before."""
        self.number += 1
        method, target, body = request(kind, f"{self.name}-{self.number}")
        if self.pad:
            target += self.pad if "?" in target else f"?{self.pad[1:]}"
        return method, target, body


def request(kind: str, name: str) -> tuple[str, str, bytes]:
    """(method, target, body) of a call of some kind; `name` makes the target unique."""
    base = "/clusters/prod/api/v1/namespaces/shop"
    body = b'{"kind":"ConfigMap","data":{"k":"' + b"v" * 200 + b'"}}'
    return {
        "get": ("GET", f"{base}/pods/{name}", b""),
        "create": ("POST", f"{base}/configmaps?fieldManager={name}", body),
        "delete": ("DELETE", f"{base}/pods/{name}", b""),
        "patch": ("PATCH", f"{base}/configmaps/{name}", body),
        "chunked": ("PUT", f"{base}/configmaps/{name}", body * 4),
        "upload": ("PUT", f"{base}/configmaps/{name}", body * 400),
        "large": ("GET", f"{base}/secrets?labelSelector=rig%3D{name}", b""),
        "events": ("GET", f"{base}/events?labelSelector=rig%3D{name}", b""),
        "watch": ("GET", f"{base}/pods?watch=true&labelSelector=rig%3D{name}", b""),
        "exec": ("POST", f"{base}/pods/{name}/exec?command=cat&stdin=true&stdout=true", b""),
    }[kind]


def encode(method: str, target: str, body: bytes, *, chunked: bool = False) -> bytes:
    """A whole request."""
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n".encode()
    if chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    if body:
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    return head + b"\r\n"


def main() -> None:
    directory, port, path, seed, threads, user, mix = sys.argv[1:8]
    scene = Scene(Path(directory))
    log = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    context = scene.client_context(user)
    pause = float(sys.argv[8]) if len(sys.argv) > 8 else 0.0
    rate = float(sys.argv[9]) if len(sys.argv) > 9 else 0.0
    clients = [
        Client(
            scene,
            int(port),
            log,
            f"{user[0]}{seed}-{index}",
            random.Random(int(seed) * 1000 + index),
            context,
            KINDS[mix],
            pause,
            int(threads) / rate if rate else 0.0,
        )
        for index in range(int(threads))
    ]
    for client in clients:
        threading.Thread(target=client.run, daemon=True).start()
    sys.stdin.read()  # until the rig says so, or is gone
    for client in clients:
        client.stopping.set()
    os._exit(0)  # some of them wait for an answer


if __name__ == "__main__":
    main()
