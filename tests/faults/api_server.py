"""A fake API server in a process of its own: it logs every effect before it answers.

Usage: python -m tests.faults.api_server SCENE

Prints its port. One line of `effects.log` for each request, written before the first byte of the
answer: `<audit id> <method> <target>`. The kind of answer follows from the target.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import cast

import httptools
import uvloop

from tests.faults.scene import Scene

SMALL = b'{"kind":"Status","apiVersion":"v1","status":"Success"}'
LARGE = b"x" * (100 * 1024)
"""Past what the proxy holds back: such an answer begins before it is recorded as complete."""
EVENT = b'{"type":"ADDED","object":{"kind":"Pod"}}\n'
FAREWELL = b"bye"
"""What ends an upgraded stream, from the API server's side."""


class Session(asyncio.Protocol):
    """One connection of the proxy's."""

    def __init__(self, log: int) -> None:
        self._log = log
        self._parser = httptools.HttpRequestParser(self)
        self._upgraded = False
        self._url = b""
        self._audit_id = b"-"
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._upgraded:
            self._echo(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded = True
            rest = data[upgrade.args[0] :]
            if rest:
                self._echo(rest)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._url, self._audit_id = b"", b"-"

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"audit-id":
            self._audit_id = value

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        os.write(self._log, b"%b %b %b\n" % (self._audit_id, method, self._url))
        if self._parser.should_upgrade():
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
            )
        elif b"watch=true" in self._url:
            task = asyncio.get_running_loop().create_task(self._watch())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif b"/events" in self._url:
            self._transport.write(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(LARGE), LARGE))
        elif b"/secrets" in self._url:
            self._transport.write(answer(b"200 OK", LARGE))
        elif method == b"POST":
            self._transport.write(answer(b"201 Created", SMALL))
        else:
            self._transport.write(answer(b"200 OK", SMALL))

    def _echo(self, data: bytes) -> None:
        self._transport.write(data)
        if data.endswith(FAREWELL):
            self._transport.close()

    async def _watch(self) -> None:
        """Three events, or as many as the target asks for with `timeoutSeconds`."""
        events = 3
        if b"timeoutSeconds=" in self._url:
            events = 50 * int(self._url.partition(b"timeoutSeconds=")[2].partition(b"&")[0])
        self._transport.write(CHUNKED)
        for _ in range(events):
            self._transport.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
            await asyncio.sleep(0.002 if events == 3 else 0.02)
        self._transport.write(b"0\r\n\r\n")


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(status: bytes, body: bytes) -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


async def main(scene: Scene) -> None:
    log = os.open(scene.effects, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    server = await asyncio.get_running_loop().create_server(
        lambda: Session(log), "127.0.0.1", 0, ssl=scene.api_context(), backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the rig is gone


if __name__ == "__main__":
    uvloop.run(main(Scene(Path(sys.argv[1]))))
