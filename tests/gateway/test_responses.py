"""Answers arrive as the cluster gave them; broken ones stay broken; nothing overtakes its record."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import Callable

import pytest

from tests.gateway.world import Exchange, Handler, World, ok, parse

PODS = "/clusters/prod/api/v1/namespaces/default/pods"
GET = f"GET {PODS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZES = [0, 1, 65_535, 65_536, 65_537, 262_145, 3_000_000]


def answering(data: bytes, *, close: bool = False) -> Handler:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(data)
        if close:
            exchange.writer.close()

    return handler


def as_length(body: bytes) -> tuple[bytes, bool]:
    return ok(body), False


def as_chunks(body: bytes) -> tuple[bytes, bool]:
    parts = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return CHUNKED + chunks + b"0\r\n\r\n", False


def until_close(body: bytes) -> tuple[bytes, bool]:
    return b"HTTP/1.1 200 OK\r\n\r\n" + body, True


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", [as_length, as_chunks, until_close])
async def test_bodies_arrive_whole_in_every_framing(
    world: World, framing: Callable[[bytes], tuple[bytes, bool]], size: int
) -> None:
    body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    data, close = framing(body)
    world.handler = answering(data, close=close)
    status, _, found = await world.get(PODS)
    assert (status, found == body) == (200, True)
    (outcome,) = world.terminals()
    assert outcome.get("bytesOut", 0) == size
    assert "closeReason" not in outcome


NO_BODY = {
    "HEAD with a length": ("HEAD", ok(b"", b"X-A: b").replace(b"Length: 0", b"Length: 99"), 200),
    "HEAD chunked": ("HEAD", CHUNKED, 200),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    "204 with a length": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204),
    "304": ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 5\r\n\r\n', 304),
}


@pytest.mark.parametrize("case", NO_BODY)
async def test_answers_without_a_body_leave_the_connection_usable(world: World, case: str) -> None:
    method, data, code = NO_BODY[case]
    world.handler = answering(data)
    reader, writer = await world.connect()
    for _ in range(3):
        writer.write(f"{method} {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert int(head.split()[1]) == code
        if code == 304:
            assert b'ETag: "x"' in head
        if code == 204:
            assert b"content-length" not in head.lower()
    assert len({id(request.writer) for request in world.requests}) == 1
    writer.close()


async def test_headers_pass_as_they_are(world: World) -> None:
    packed = gzip.compress(b"x" * 1000)
    world.handler = answering(
        ok(
            packed,
            b"Content-Encoding: gzip",
            b'Warning: 299 - "one"',
            b'Warning: 299 - "two"',
            b"Audit-ID: theirs",
            b"Connection: X-Hop",
            b"X-Hop: 1",
            b"Keep-Alive: timeout=5",
        )
    )
    answer = await world.raw(GET)
    assert answer.count(b"Warning: 299") == 2
    assert answer.endswith(packed)
    assert b"Content-Encoding: gzip" in answer
    assert answer.lower().count(b"audit-id:") == 1
    assert b"X-Hop" not in answer
    assert b"Keep-Alive" not in answer


async def test_trailers_and_hints_pass(world: World) -> None:
    world.handler = answering(
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        + CHUNKED
        + b"1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n"
    )
    answer = await world.raw(GET)
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n")


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_lesson_15_redirects_are_the_clients_business(world: World, code: int) -> None:
    world.handler = answering(ok(b"", b"Location: https://127.0.0.1:1/", status=b"%d Moved" % code))
    status, headers, _ = await world.get(PODS)
    assert (status, headers["location"]) == (code, "https://127.0.0.1:1/")
    assert len(world.requests) == 1


async def test_lesson_28_cookies_stay_with_their_call(world: World) -> None:
    world.handler = answering(ok(b"", b"Set-Cookie: session=alices"))
    await world.get(PODS)
    world.issue("bob", "dev")
    await world.get(PODS, user="bob")
    assert len(world.requests) == 2
    assert not any(request.headers("cookie") for request in world.requests)


@pytest.mark.parametrize(
    "data",
    [
        ok(b"x" * 100)[:-1],
        ok(b"x" * 200_000)[:-1],
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhel",
        CHUNKED + b"%x\r\n%b\r\n" % (200_000, b"x" * 200_000),
        CHUNKED + b"5\r\nhello\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"nonsense\r\n\r\n",
    ],
    ids=["small", "large", "chunks", "in a chunk", "large chunks", "bad chunk", "head", "no http"],
)
@pytest.mark.parametrize("pause", [0, 0.2], ids=["at once", "later"])
async def test_a_cluster_that_breaks_off_never_looks_complete(
    world: World, data: bytes, pause: float
) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(data)
        await asyncio.sleep(pause)
        exchange.writer.close()

    world.handler = handler
    answer = await world.raw(GET)
    (outcome,) = await world.settled(1)
    assert outcome["closeReason"] == "upstream-failed"
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 502"):
        assert json.loads(body)["status"] == "Failure"
    elif b"Transfer-Encoding: chunked" in head:
        assert not body.endswith(b"0\r\n\r\n")
    else:
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        assert len(body) < length


async def test_a_slow_answer_is_streamed_not_cut(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        for part in (b"a", b"b", b"c", b"d"):
            await asyncio.sleep(0.15)
            await exchange.answer(part)

    world.handler = handler
    status, _, body = await world.get(PODS)
    assert (status, body) == (200, b"abcd")
    assert world.journal.stages() == ["RequestReceived", "ResponseStarted", "ResponseComplete"]


async def test_server_sent_events_of_a_backend_flow_at_once(world: World) -> None:
    more = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.answer(CHUNKED + b"3\r\none\r\n")
        await more.wait()
        await exchange.answer(b"3\r\ntwo\r\n0\r\n\r\n")

    world.handler = handler
    reader, writer = await world.connect()
    path = "/clusters/prod/api/v1/namespaces/a/services/web/proxy/events"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(5):
        await reader.readuntil(b"one\r\n")
    more.set()
    async with asyncio.timeout(5):
        await reader.readuntil(b"two\r\n0\r\n\r\n")
    writer.close()


async def test_an_early_answer_ends_the_upload(world: World) -> None:
    seen = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.reader.read(1000)
        await exchange.answer(ok(b"too large", status=b"413 Too Large"))
        while await exchange.reader.read(2**20):
            pass
        seen.set()

    world.handler = handler
    size = 100 * 2**20
    reader, writer = await world.connect()
    writer.write(
        f"POST {PODS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n".encode()
    )

    async def upload() -> int:
        block = b"u" * 2**16
        for sent in range(0, size, len(block)):
            try:
                writer.write(block)
                await writer.drain()
            except OSError:
                return sent
        return size

    sending = asyncio.create_task(upload())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    assert b"Connection: close" in head
    assert await reader.readexactly(9) == b"too large"
    assert await sending < size
    await asyncio.wait_for(seen.wait(), 5)
    (outcome,) = await world.settled(1)
    assert outcome["responseStatus"]["code"] == 413
    writer.close()


async def test_a_switch_of_protocols_nobody_asked_for_is_an_error(world: World) -> None:
    world.handler = answering(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nraw"
    )
    answer = await world.raw(GET)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert world.terminals()[0]["closeReason"] == "upstream-failed"


# --- nothing overtakes its record ------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [ok(b"x" * 100), CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"],
    ids=["length", "chunked"],
)
async def test_a_small_answer_waits_for_its_outcome(world: World, data: bytes) -> None:
    world.handler = answering(data)
    world.journal.hold = True
    reader, writer = await world.connect()
    writer.write(GET)
    await world.until(lambda: len(world.journal.waiting) == 2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)
    world.journal.sync()
    assert parse(await reader.read())[0] == 200
    writer.close()


@pytest.mark.parametrize("framing", [as_length, as_chunks])
async def test_the_last_byte_of_a_large_answer_waits_for_its_outcome(
    world: World, framing: Callable[[bytes], tuple[bytes, bool]]
) -> None:
    body = b"x" * 1_000_000
    world.handler = answering(framing(body)[0])
    reader, writer = await world.connect()
    world.journal.hold = True
    writer.write(GET)
    await world.until(lambda: len(world.journal.waiting) == 2)
    assert [record["stage"] for record, _ in world.journal.waiting] == [
        "RequestReceived",
        "ResponseStarted",
    ]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)
    world.journal.sync()
    seen = b""
    while not world.journal.waiting:
        with contextlib.suppress(TimeoutError):
            seen += await asyncio.wait_for(reader.read(2**20), 0.05)
    with contextlib.suppress(TimeoutError):
        while True:
            seen += await asyncio.wait_for(reader.read(2**20), 0.05)
    assert seen
    assert not seen.endswith(b"0\r\n\r\n")
    assert seen.count(b"x") < len(body) or framing is as_chunks
    world.journal.sync()
    assert parse(seen + await reader.read())[2] == body
    writer.close()


async def test_intents_of_reads_are_written_while_the_cluster_works(world: World) -> None:
    world.journal.hold = True
    calls = [asyncio.create_task(world.get(PODS)) for _ in range(5)]
    await world.until(lambda: len(world.requests) == 5)
    assert world.journal.lines == []
    await world.until(lambda: len(world.journal.waiting) == 10)
    world.journal.sync()
    assert [(await call)[0] for call in calls] == [200] * 5


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_record_that_fails_cuts_or_withholds(world: World, after: int) -> None:
    """After 0 or 1 durable records nothing was released; after 2 the stream is cut."""
    world.journal.refuse_from = after
    world.handler = answering(as_chunks(b"x" * 1_000_000)[0])
    answer = await world.raw(GET)
    if after < 2:
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"withheld" in answer
        assert b"xxx" not in answer
    else:
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert not answer.endswith(b"0\r\n\r\n")
    assert b"retry-after" not in answer.lower()
    assert world.refusals("journal") == 1
