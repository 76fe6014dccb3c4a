"""Connections kept between calls, against a real server."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from proxy.clock import ManualClock
from proxy.reaching import Upstream
from proxy.upstream.asking import ask
from proxy.upstream.cluster import Target
from proxy.upstream.connection import UpstreamConnection, UpstreamError
from proxy.upstream.pool import Pool

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Server:
    target: Target
    answer: bytes = OK
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    requests: int = 0


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.writers.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                found.requests += 1
                writer.write(found.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    found = Server(Target("prod", "127.0.0.1", listening.sockets[0].getsockname()[1]))
    yield found
    listening.close()
    for writer in found.writers:
        writer.close()
    await asyncio.sleep(0.01)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def pool(clock: ManualClock) -> AsyncIterator[Pool]:
    made = Pool(Upstream(idle_connections=2, connect_timeout=0.3), clock)
    yield made
    made.close()


async def call(pool: Pool, server: Server) -> UpstreamConnection:
    connection = await pool.acquire(server.target)
    response = await connection.request(b"GET", GET)
    while await response.body.read():
        pass
    pool.release(server.target, connection)
    return connection


async def test_a_clean_connection_is_used_again(pool: Pool, server: Server) -> None:
    assert len({await call(pool, server) for _ in range(5)}) == 1
    assert len(server.writers) == 1


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_connection_the_server_ended_is_not_used_again(
    pool: Pool, server: Server, how: str
) -> None:
    first = await call(pool, server)
    getattr(server.writers[0] if how == "close" else server.writers[0].transport, how)()
    await until(lambda: first.closing)
    assert await call(pool, server) is not first


POISON = {
    "a whole answer": OK,
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Len",
    "one byte": b"H",
    "an empty line": b"\r\n",
    "a timeout of the server": b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("case", POISON)
async def test_bytes_without_a_request_never_meet_the_next_one(
    pool: Pool, server: Server, case: str
) -> None:
    first = await call(pool, server)
    server.writers[0].write(POISON[case])
    await until(lambda: first.closing)
    assert await call(pool, server) is not first


async def test_an_answer_with_another_behind_it_is_refused(pool: Pool, server: Server) -> None:
    server.answer = OK + OK
    with pytest.raises(UpstreamError, match=r"not HTTP/1\.1"):
        await call(pool, server)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_an_answer_that_ends_its_connection_is_the_last(
    pool: Pool, server: Server, answer: bytes
) -> None:
    server.answer = answer
    assert await call(pool, server) is not await call(pool, server)


async def test_idle_connections_are_closed_before_the_server_does(
    pool: Pool, server: Server, clock: ManualClock
) -> None:
    first = await call(pool, server)
    clock.advance(59)
    pool.sweep()
    assert await call(pool, server) is first
    clock.advance(61)
    pool.sweep()
    assert first.closing
    assert await call(pool, server) is not first


async def test_no_more_are_kept_than_asked_for(pool: Pool, server: Server) -> None:
    open_ones = [await pool.acquire(server.target) for _ in range(4)]
    for connection in open_ones:
        response = await connection.request(b"GET", GET)
        assert await response.body.read() == b"ok"
    for connection in open_ones:
        pool.release(server.target, connection)
    assert [connection.closing for connection in open_ones] == [False, False, True, True]


async def test_a_request_that_was_not_sent_whole_ends_the_connection(
    pool: Pool, server: Server
) -> None:
    connection = await pool.acquire(server.target)
    response = await connection.request(b"GET", GET)
    assert await response.body.read() == b"ok"
    connection.must_close = True
    pool.release(server.target, connection)
    assert connection.closing


async def test_a_port_where_nobody_listens(pool: Pool) -> None:
    with pytest.raises(UpstreamError, match="cluster gone: cannot connect"):
        await pool.connect(Target("gone", "127.0.0.1", 1))


async def test_a_handshake_that_never_ends_is_cut(pool: Pool, server: Server) -> None:
    target = Target(
        "slow", "127.0.0.1", server.target.port, tls=ssl.create_default_context(cadata=None)
    )
    with pytest.raises(UpstreamError, match=r"no connection within 0.3 s"):
        await pool.connect(target)


async def test_a_question_with_too_long_an_answer_is_refused(pool: Pool, server: Server) -> None:
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1100000\r\n\r\n" + b"x" * 1_100_000
    with pytest.raises(UpstreamError, match="over 1 MiB"):
        await ask(pool, server.target, b"GET", b"/version", [])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not condition():
            await asyncio.sleep(0.002)
