"""Many requests on one connection: order, limits, and what an answer of ours leaves behind."""

import re

import pytest

from proxy.gateway.connection import MAX_PIPELINED
from tests.gateway.world import Exchange, World, ok

PODS = "/clusters/prod/api/v1/namespaces/default/pods"
GET = f"GET {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
LAST = f"GET {PODS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


async def test_two_thousand_requests_in_one_go(world: World) -> None:
    answer = await world.raw(GET * 1_999 + LAST)
    assert len(re.findall(rb"HTTP/1\.1 200 OK", answer)) == 2_000
    assert len(world.terminals()) == 2_000
    assert len({id(request.writer) for request in world.requests}) == 1


async def test_requests_are_not_read_ahead_and_a_client_that_left_is_still_noticed(
    world: World,
) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.reader.read()

    world.handler = handler
    reader, writer = await world.connect()
    for _ in range(20):
        writer.write(GET)
    await world.until(lambda: world.requests)
    (connection,) = world.plane._connections
    await world.until(lambda: connection._crowded)
    assert MAX_PIPELINED <= len(connection._requests) <= 20
    writer.transport.abort()
    (outcome,) = await world.settled(1)
    assert outcome["closeReason"] == "client-gone"
    del reader


ANSWERS = {
    "403": ("GET", "/clusters/other/api/v1/pods", b"", 403),
    "404": ("GET", "/healthz", b"", 404),
    "400": ("GET", "/clusters/prod/api/v1//pods", b"", 400),
    "403 with a body": ("POST", "/clusters/other/api/v1/pods", b"b" * 100, 403),
    "403 with a large body": ("POST", "/clusters/other/api/v1/pods", b"b" * 200_000, 403),
    "HEAD": ("HEAD", "/clusters/other/api/v1/pods", b"", 403),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_after_an_answer_of_ours_the_connection_goes_on_or_says_that_it_ends(
    world: World, case: str
) -> None:
    method, path, body, code = ANSWERS[case]
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    reader, writer = await world.connect()
    for _ in range(3):
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{length}\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        assert int(head.split()[1]) == code
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(0 if method == "HEAD" else size)
        if b"Connection: close" in head:
            assert await reader.read() == b""
            break
    else:
        writer.write(LAST)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_large_body_that_came_whole_and_was_refused_blocks_nothing(world: World) -> None:
    """More than a stream holds before it stops its transport, in the same delivery as the head."""
    body = b"b" * 400_000
    head = f"POST /clusters/other/api/v1/pods HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
    reader, writer = await world.connect()
    writer.write(head.encode() + b"\r\n\r\n")
    await world.until(lambda: world.journal.lines)
    writer.write(body)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close" in answer
    writer.close()


async def test_an_answer_arrives_though_its_request_body_is_unwanted(world: World) -> None:
    head = "POST /clusters/other/api/v1/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
    answer = await world.raw(head.encode() + b"b" * 3_000_000)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert world.requests == []


async def test_expect_on_a_refused_call_is_never_told_to_continue(world: World) -> None:
    answer = await world.raw(
        b"POST /clusters/other/api/v1/pods HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        b"Content-Length: 5\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 403 ")


async def test_pipelined_bodies_stay_with_their_requests(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(ok(exchange.body))

    world.handler = handler
    posts = b"".join(
        f"POST {PODS} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
        + b"%d" % size * 1
        + b"." * (size - len(str(size)))
        for size in (5, 70_000, 300_000, 7)
    )
    answer = await world.raw(posts + LAST)
    assert [len(request.body) for request in world.requests] == [5, 70_000, 300_000, 7, 0]
    assert answer.count(b"HTTP/1.1 200") == 5
