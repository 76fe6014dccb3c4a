"""Upgrades: only a 101 opens a pipe, bytes pass once and exactly, each end is recorded once."""

import asyncio

import pytest

from tests.gateway.world import Exchange, Handler, World, ok

EXEC = "/clusters/prod/api/v1/namespaces/default/pods/p/exec?command=sh"
SPDY = ("Connection: Upgrade", "Upgrade: SPDY/3.1", "Content-Length: 0")
SOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
VERSIONS = ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"]  # fmt: skip


def request(method: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {EXEC} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


async def test_spdy_keeps_its_five_versions(world: World) -> None:
    await world.raw(
        request("POST", *SPDY, *(f"X-Stream-Protocol-Version: {name}" for name in VERSIONS))
    )
    (seen,) = world.requests
    assert seen.line.startswith("POST /api/v1/namespaces/default/pods/p/exec?command=sh ")
    assert seen.headers("x-stream-protocol-version") == VERSIONS
    assert seen.headers("upgrade") == ["SPDY/3.1"]
    assert seen.headers("connection") == ["Upgrade"]
    assert seen.headers("content-length") == ["0"]


async def test_websocket_keeps_key_and_subprotocol(world: World) -> None:
    await world.raw(
        request(
            "GET",
            *SOCKET,
            "Sec-WebSocket-Key: a2V5",
            "Sec-WebSocket-Protocol: v5.channel.k8s.io",
            "Sec-WebSocket-Extensions: permessage-deflate",
        )
    )
    (seen,) = world.requests
    assert seen.headers("sec-websocket-key") == ["a2V5"]
    assert seen.headers("sec-websocket-protocol") == ["v5.channel.k8s.io"]
    assert seen.headers("sec-websocket-extensions") == []


@pytest.mark.parametrize("code", [400, 403, 404, 500])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_refused_upgrade_is_an_answer_and_the_end(
    world: World, code: int, chunked: bool
) -> None:
    async def handler(exchange: Exchange) -> None:
        status = b"%d No" % code
        if chunked:
            await exchange.answer(
                b"HTTP/1.1 "
                + status
                + b"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
            )
        else:
            await exchange.answer(ok(b"no", status=status))

    world.handler = handler
    answer = await world.raw(request("POST", *SPDY) + b"raw bytes" + request("GET"))
    assert answer.startswith(b"HTTP/1.1 %d " % code)
    assert answer.endswith(b"\r\n\r\nno")
    assert b"Connection: close" in answer
    assert len(world.requests) == 1
    (outcome,) = world.terminals()
    assert outcome["responseStatus"]["code"] == code


async def echo(exchange: Exchange) -> None:
    await exchange.answer(SWITCH)
    while data := await exchange.reader.read(2**16):
        await exchange.answer(data)
        if data.endswith(b"!"):
            break
    exchange.writer.close()


@pytest.mark.parametrize("size", [1, 1000, 65_536, 300_000])
async def test_bytes_sent_before_the_101_arrive_once(world: World, size: int) -> None:
    world.handler = echo
    early = b"e" * (size - 1) + b"!"
    answer = await world.raw(request("POST", *SPDY) + early)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b" 101 " in head
    assert rest == early
    (outcome,) = world.terminals()
    assert (outcome["bytesIn"], outcome["bytesOut"]) == (size, size)


@pytest.mark.parametrize("size", [1, 65_537, 1_000_000])
@pytest.mark.parametrize("hold", [False, True])
async def test_bytes_behind_the_101_arrive_once_and_after_its_record(
    world: World, size: int, hold: bool
) -> None:
    async def handler(exchange: Exchange) -> None:
        world.journal.hold = hold
        exchange.writer.write(SWITCH + b"b" * size)
        exchange.writer.close()

    world.handler = handler
    reader, writer = await world.connect()
    writer.write(request("POST", *SPDY))
    if hold:
        await world.until(lambda: world.journal.hold and world.journal.waiting)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        world.journal.hold = False
        world.journal.sync()
    assert (await reader.read()).partition(b"\r\n\r\n")[2] == b"b" * size
    assert (await world.settled(1))[0]["bytesOut"] == size
    writer.close()


async def ended_by_cluster(exchange: Exchange) -> None:
    await exchange.answer(SWITCH + b"bye")
    exchange.writer.close()


async def broken_by_cluster(exchange: Exchange) -> None:
    await exchange.answer(SWITCH + b"bye")
    exchange.writer.transport.abort()


async def ended_by_client(exchange: Exchange) -> None:
    await exchange.answer(SWITCH + b"bye")
    assert await exchange.reader.read() == b"ciao"


@pytest.mark.parametrize("handler", [ended_by_cluster, broken_by_cluster, ended_by_client])
async def test_either_side_may_end_it_and_it_is_recorded_once(
    world: World, handler: Handler
) -> None:
    world.handler = handler
    reader, writer = await world.connect()
    writer.write(request("POST", *SPDY))
    await reader.readuntil(b"\r\n\r\n")
    if handler is ended_by_client:
        await reader.readexactly(3)
        writer.write(b"ciao")
        writer.close()
    else:
        await reader.read()
    (outcome,) = await world.settled(1)
    assert outcome["responseStatus"]["code"] == 101
    assert outcome.get("bytesIn", 0) == (4 if handler is ended_by_client else 0)
    writer.close()


async def test_a_record_that_fails_opens_no_pipe(world: World) -> None:
    world.handler = echo
    world.journal.refuse_from = 1
    answer = await world.raw(request("POST", *SPDY) + b"early")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b" 101 " not in answer


async def test_lesson_31_revocation_ends_a_tunnel(world: World) -> None:
    world.handler = echo
    reader, writer = await world.connect()
    writer.write(request("POST", *SPDY))
    await reader.readuntil(b"\r\n\r\n")
    world.revoke("alice")
    async with asyncio.timeout(1):
        assert await reader.read() == b""
    (outcome,) = await world.settled(1)
    assert outcome["closeReason"] == "revoked"
    writer.close()
