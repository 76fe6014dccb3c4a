"""Many streams, their end by revocation or shutdown, and back-pressure in every direction."""

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.gateway.world import Exchange, World, ok

PODS = "/clusters/prod/api/v1/namespaces/default/pods"
WATCH = f"GET {PODS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def watching(exchange: Exchange) -> None:
    await exchange.answer(CHUNKED + b"1\r\nx\r\n")
    await exchange.reader.read()


async def watch(world: World) -> Streams:
    reader, writer = await world.connect()
    writer.write(WATCH)
    await reader.readuntil(b"x\r\n")
    return reader, writer


async def test_lesson_31_revocation_ends_twenty_watches_within_a_second(world: World) -> None:
    world.handler = watching
    streams = [await watch(world) for _ in range(20)]
    assert world.gauge("streams_open") == 20
    begun = time.monotonic()
    world.revoke("alice")
    for reader, _ in streams:
        assert b"0\r\n" not in await reader.read()
    assert time.monotonic() - begun < 1
    outcomes = await world.settled(20)
    assert {outcome["closeReason"] for outcome in outcomes} == {"revoked"}
    await world.until(lambda: world.gauge("streams_open") == 0)
    for _, writer in streams:
        writer.close()


async def test_a_drain_lets_calls_end_closes_idle_ones_and_then_cuts(world: World) -> None:
    finish = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        if "watch" in exchange.line:
            await watching(exchange)
        await finish.wait()
        await exchange.answer(ok(b"done"))

    world.handler = handler
    idle, idle_writer = await world.connect()
    stream, stream_writer = await watch(world)
    busy, busy_writer = await world.connect()
    busy_writer.write(f"GET {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await world.until(lambda: len(world.requests) == 2)
    drain = asyncio.create_task(world.plane.drain(1.5))
    async with asyncio.timeout(1.4):
        assert await idle.read() == b""
        with pytest.raises(OSError):
            await asyncio.open_connection(*world.address)
        finish.set()
        answer = await busy.read()
    assert b"Connection: close" in answer
    assert answer.endswith(b"done")
    assert not drain.done()
    assert b"0\r\n" not in await stream.read()
    await drain
    reasons = {outcome.get("closeReason", "") for outcome in world.terminals()}
    assert reasons == {"", "drained"}
    for writer in (idle_writer, stream_writer, busy_writer):
        writer.close()


BLOCK = b"z" * 2**20
BOUND = 40 * 2**20
"""Bytes that may be on the way: buffers of ours, of two loops, and of the kernel's four sockets."""


async def test_a_client_that_does_not_read_stops_the_cluster(world: World) -> None:
    sent = 0
    size = 200

    async def handler(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.answer(CHUNKED)
        for _ in range(size):
            await exchange.answer(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
            sent += len(BLOCK)
        await exchange.answer(b"0\r\n\r\n")

    world.handler = handler
    reader, writer = await world.connect()
    _hold_little(reader)
    writer.write(f"GET {PODS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    await _stalled(lambda: sent)
    assert 0 < sent < BOUND
    total = 0
    while data := await reader.read(2**22):
        total += data.count(b"z")
    assert total == size * len(BLOCK)
    assert world.terminals()[0]["bytesOut"] == total
    writer.close()


async def test_a_cluster_that_does_not_read_stops_the_client(world: World) -> None:
    go_on = asyncio.Event()
    size = 200
    received = 0

    async def handler(exchange: Exchange) -> None:
        nonlocal received
        _hold_little(exchange.reader)
        await go_on.wait()
        while b"0\r\n\r\n" not in (data := await exchange.reader.read(2**22)):
            received += data.count(b"z")
        received += data.count(b"z")
        await exchange.answer(ok(b"{}"))

    world.handler = handler
    reader, writer = await world.connect()
    writer.write(f"POST {PODS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    sent = 0

    async def upload() -> None:
        nonlocal sent
        for _ in range(size):
            writer.write(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
            await writer.drain()
            sent += len(BLOCK)
        writer.write(b"0\r\n\r\n")

    sending = asyncio.create_task(upload())
    await world.until(lambda: world.requests)
    await _stalled(lambda: sent)
    assert 0 < sent < BOUND
    go_on.set()
    await sending
    assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
    assert received == size * len(BLOCK)
    assert (await world.settled(1))[0]["bytesIn"] == received
    writer.close()


def _hold_little(reader: asyncio.StreamReader) -> None:
    """Make it pause its peer early, as one that was made with a small limit does."""
    reader._limit = 2**16  # type: ignore[attr-defined]  # typeshed has only what is public


async def _stalled(progress: Callable[[], int]) -> None:
    """Wait until a number stands still for a moment."""
    last, same = -1, 0
    async with asyncio.timeout(20):
        while same < 10:
            await asyncio.sleep(0.02)
            same = same + 1 if progress() == last and last > 0 else 0
            last = progress()


@pytest.mark.parametrize("slow", ["client", "cluster"])
async def test_a_tunnel_stops_its_fast_side(world: World, slow: str) -> None:
    size = 64
    counts = {"sent": 0, "received": 0}
    go_on = asyncio.Event()
    done = asyncio.Event()

    async def send(writer: asyncio.StreamWriter) -> None:
        for _ in range(size):
            writer.write(BLOCK)
            await writer.drain()
            counts["sent"] += len(BLOCK)

    async def receive(reader: asyncio.StreamReader) -> None:
        _hold_little(reader)
        await go_on.wait()
        while counts["received"] < size * len(BLOCK):
            data = await reader.read(2**22)
            assert data
            counts["received"] += len(data)
        done.set()

    async def handler(exchange: Exchange) -> None:
        await exchange.answer(
            b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
        )
        if slow == "client":
            await send(exchange.writer)
        else:
            await receive(exchange.reader)
        await done.wait()
        exchange.writer.close()

    world.handler = handler
    reader, writer = await world.connect()
    _hold_little(reader)
    writer.write(
        f"POST {PODS}/p/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        "Upgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    work = asyncio.create_task(receive(reader) if slow == "client" else send(writer))
    await _stalled(lambda: counts["sent"])
    assert counts["sent"] < BOUND < size * len(BLOCK)
    go_on.set()
    await work
    await asyncio.wait_for(done.wait(), 20)
    (outcome,) = await world.settled(1)
    assert outcome["bytesOut" if slow == "client" else "bytesIn"] == size * len(BLOCK)
    writer.close()


async def test_a_body_waiting_in_a_pipeline_is_not_read_ahead(world: World) -> None:
    """Two reasons to stop reading: neither may take back the pause of the other."""
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        if exchange.line.startswith("GET"):
            await exchange.answer(ok(b""))
            return
        _hold_little(exchange.reader)
        await go_on.wait()
        while b"0\r\n\r\n" not in await exchange.reader.read(2**22):
            pass
        await exchange.answer(ok(b"last"))

    world.handler = handler
    reader, writer = await world.connect()
    get = f"GET {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    post = f"POST {PODS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    writer.write(get * 9 + post)
    sent = 0

    async def upload() -> None:
        nonlocal sent
        for _ in range(64):
            writer.write(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
            await writer.drain()
            sent += len(BLOCK)
        writer.write(b"0\r\n\r\n")

    sending = asyncio.create_task(upload())
    for _ in range(9):
        await reader.readuntil(b"\r\n\r\n")
    await _stalled(lambda: sent)
    assert sent < BOUND
    go_on.set()
    await sending
    await reader.readuntil(b"last")
    writer.close()
