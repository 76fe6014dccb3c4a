"""One client connection on a transport of the test's own: when it reads and when it does not."""

import asyncio
from collections.abc import Callable
from typing import Any

from proxy.gateway.connection import ClientConnection
from proxy.gateway.request import Request
from proxy.settings import Limits
from proxy.upstream.stream import HIGH_WATER

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that only remembers whether it was told to read."""

    def __init__(self) -> None:
        super().__init__()
        self._reading = True
        self.closed = False

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def is_reading(self) -> bool:
        return self._reading

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


class Desk:
    """Serves each request with one function."""

    def __init__(self, serve: Callable[[Request], Any]) -> None:
        self.limits = Limits()
        self._serve = serve

    async def serve(self, connection: ClientConnection, request: Request) -> None:
        await self._serve(request)

    async def unreadable(self, connection: ClientConnection, why: str) -> None:
        raise AssertionError(why)

    def opened(self, connection: ClientConnection) -> None:
        """Nothing to keep."""

    def closed(self, connection: ClientConnection) -> None:
        """Nothing to forget."""


def post(body: bytes, length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length + body


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def connect(serve: Callable[[Request], Any]) -> tuple[ClientConnection, Wire]:
    wire = Wire()
    connection = ClientConnection(Desk(serve), "127.0.0.1")
    connection.connection_made(wire)
    return connection, wire


async def test_a_body_and_a_full_pipeline_each_take_back_their_own_pause() -> None:
    take = asyncio.Event()
    bodies = []

    async def serve(request: Request) -> None:
        if request.body is not None:
            await take.wait()
            bodies.append(await request.body.read())

    connection, wire = connect(serve)
    part = b"b" * (HIGH_WATER + 1)
    connection.data_received(GET * 9 + post(part, len(part) + 1))
    assert not wire.is_reading()
    await settle()
    # The pipeline is empty by now, and would read on; the body is still too large.
    assert not wire.is_reading()
    take.set()
    await settle()
    assert bodies == [part]
    assert wire.is_reading()
    connection.connection_lost(None)
    await settle()


async def test_a_refused_body_that_came_whole_does_not_stop_the_next_request() -> None:
    served = []

    async def serve(request: Request) -> None:
        served.append(request.method)

    connection, wire = connect(serve)
    part = b"b" * (HIGH_WATER + 1)
    connection.data_received(post(part, len(part)))
    assert not wire.is_reading()
    await settle()
    assert wire.is_reading()
    connection.data_received(GET)
    await settle()
    assert served == [b"POST", b"GET"]
    connection.connection_lost(None)
    await settle()
