"""The connection to a cluster: what came with a 101, or right behind it, reaches the tunnel whole."""

import asyncio

import pytest

from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.sending import MAX_EARLY

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self._reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True


class Sink:
    """The far side of a tunnel."""

    def __init__(self) -> None:
        self.received = b""
        self.ended = False

    def data(self, data: bytes) -> None:
        self.received += data

    def closed(self, error: Exception | None) -> None:
        self.ended = True

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@pytest.mark.parametrize("later", [b"", b"second", b"\x81\x02hi", b"HTTP/1.1 200 OK\r\n\r\n"])
@pytest.mark.parametrize("cut", [0, 5, len(SWITCHING), len(SWITCHING) + 3])
async def test_bytes_between_a_101_and_the_tunnel_are_kept(cut: int, later: bytes) -> None:
    connection, wire, sink = UpstreamConnection(), Wire(), Sink()
    connection.connection_made(wire)
    answer = connection.request(b"GET", b"GET / HTTP/1.1\r\n\r\n")
    first = SWITCHING + b"first"
    for piece in (first[:cut], first[cut:], later):
        if piece:
            connection.data_received(piece)
    assert (await answer).status == 101
    connection.upgrade(sink)
    connection.data_received(b"third")
    assert sink.received == b"first" + later + b"third"


async def test_a_cluster_that_floods_before_the_tunnel_is_paused() -> None:
    connection, wire, sink = UpstreamConnection(), Wire(), Sink()
    connection.connection_made(wire)
    answer = connection.request(b"GET", b"GET / HTTP/1.1\r\n\r\n")
    connection.data_received(SWITCHING)
    await answer
    connection.data_received(bytes(MAX_EARLY + 1))
    assert not wire.is_reading()
    connection.upgrade(sink)
    assert wire.is_reading()
    assert len(sink.received) == MAX_EARLY + 1


async def test_a_connection_lost_before_the_tunnel_ends_it() -> None:
    connection, wire, sink = UpstreamConnection(), Wire(), Sink()
    connection.connection_made(wire)
    answer = connection.request(b"GET", b"GET / HTTP/1.1\r\n\r\n")
    connection.data_received(SWITCHING + b"last words")
    connection.connection_lost(None)
    await answer
    connection.upgrade(sink)
    assert sink.received == b"last words"
    assert sink.ended
