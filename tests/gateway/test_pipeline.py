"""The life of a call, seen from both sides and in the record."""

import asyncio
import json

from tests.gateway.world import Exchange, World, ok

PODS = "/clusters/prod/api/v1/namespaces/default/pods"


async def test_a_get_is_forwarded_with_the_users_identity_and_recorded(world: World) -> None:
    status, headers, body = await world.get(PODS, "User-Agent: kubectl/v1.37.1 (linux/amd64)")
    assert (status, body) == (200, b'{"kind":"PodList"}')
    (request,) = world.requests
    assert request.line == "GET /api/v1/namespaces/default/pods HTTP/1.1"
    assert request.headers("impersonate-user") == ["alice"]
    assert request.headers("impersonate-group") == ["dev"]
    assert request.headers("authorization") == ["Bearer proxy-token"]
    assert request.headers("audit-id") == [headers["audit-id"]]
    assert world.journal.stages() == ["RequestReceived", "ResponseComplete"]
    outcome = world.journal.lines[1]
    assert outcome["user"] == {"username": "alice", "groups": ["dev"]}
    assert outcome["verb"] == "list"
    assert outcome["objectRef"] == {"resource": "pods", "namespace": "default", "apiVersion": "v1"}
    assert outcome["responseStatus"] == {"code": 200}
    assert outcome["bytesOut"] == len(body)
    assert outcome["tool"] == "kubectl"


async def test_a_mutation_waits_for_its_intent_before_anything_goes_upstream(world: World) -> None:
    world.journal.hold = True
    call = asyncio.create_task(world.get(PODS, method="POST", body=b'{"kind":"Pod"}'))
    while not world.journal.waiting:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    assert world.requests == []
    world.journal.sync()
    while len(world.journal.waiting) < 1:
        await asyncio.sleep(0.005)
    assert world.requests[0].body == b'{"kind":"Pod"}'
    assert not call.done()
    world.journal.hold = False
    world.journal.sync()
    assert (await call)[0] == 200


async def test_a_mutation_without_a_journal_is_refused_and_not_forwarded(world: World) -> None:
    world.journal.failure = "the disk is full"
    status, headers, body = await world.get(PODS, method="POST", body=b"{}")
    answer = json.loads(body)
    assert (status, answer["reason"]) == (503, "ServiceUnavailable")
    assert "the disk is full" in answer["message"]
    assert world.requests == []
    assert "retry-after" not in headers


async def test_an_answer_is_withheld_when_its_outcome_is_not_durable(world: World) -> None:
    world.journal.refuse_from = 1
    status, headers, body = await world.get(PODS, method="POST", body=b"{}")
    assert status == 503
    assert "withheld" in json.loads(body)["message"]
    assert len(world.requests) == 1
    assert "retry-after" not in headers


async def test_a_large_answer_is_started_and_completed_on_record(world: World) -> None:
    large = b"x" * 3_000_000

    async def handler(exchange: Exchange) -> None:
        await exchange.answer(ok(large))

    world.handler = handler
    status, _, body = await world.get(PODS)
    assert (status, body) == (200, large)
    assert world.journal.stages() == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    assert world.journal.lines[2]["bytesOut"] == len(large)


async def test_a_watch_streams_at_once_and_ends_on_record(world: World) -> None:
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await exchange.answer(b"5\r\nfirst\r\n")
        await go_on.wait()
        await exchange.answer(b"6\r\nsecond\r\n0\r\n\r\n")

    world.handler = handler
    reader, writer = await world.connect()
    writer.write(f"GET {PODS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readuntil(b"first\r\n") == b"5\r\nfirst\r\n"
    assert world.journal.stages() == ["RequestReceived", "ResponseStarted"]
    go_on.set()
    assert await reader.readuntil(b"0\r\n\r\n") == b"6\r\nsecond\r\n0\r\n\r\n"
    assert world.journal.stages()[-1] == "ResponseComplete"
    writer.close()


async def test_without_a_certificate_a_readable_401(world: World) -> None:
    status, _, body = await world.get(PODS, user=None)
    assert (status, json.loads(body)["reason"]) == (401, "Unauthorized")
    assert world.requests == []
    assert world.journal.stages() == ["RequestReceived", "ResponseComplete"]
    assert world.journal.lines[1]["closeReason"] == "refused"


async def test_revocation_counts_on_the_next_call_and_cuts_streams(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await asyncio.sleep(60)

    world.handler = handler
    reader, writer = await world.connect()
    writer.write(f"GET {PODS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"x\r\n")
    world.revoke("alice")
    rest = await reader.read()
    assert b"0\r\n\r\n" not in rest
    (outcome,) = await world.settled(1)
    assert outcome["closeReason"] == "revoked"
    status, _, body = await world.get(PODS)
    assert status == 401
    assert "revoked" in json.loads(body)["message"]
    writer.close()


async def test_a_client_that_leaves_cancels_its_call_upstream(world: World) -> None:
    gone = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        assert await exchange.reader.read(1) == b""
        gone.set()

    world.handler = handler
    reader, writer = await world.connect()
    writer.write(f"GET {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    while not world.requests:
        await asyncio.sleep(0.005)
    writer.close()
    async with asyncio.timeout(2):
        await gone.wait()
    (outcome,) = await world.settled(1)
    assert outcome["closeReason"] == "client-gone"
    del reader


async def test_an_upgrade_is_tunnelled_byte_for_byte(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello"
        )
        while data := await exchange.reader.read(65536):
            await exchange.answer(data[::-1])
            if b"end" in data:
                break
        exchange.writer.close()

    world.handler = handler
    reader, writer = await world.connect()
    writer.write(
        f"GET {PODS}/p/exec?command=sh HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(5) == b"hello"
    assert world.journal.stages() == ["RequestReceived", "ResponseStarted"]
    writer.write(b"\x00\xff123")
    assert await reader.readexactly(5) == b"321\xff\x00"
    writer.write(b"end")
    assert await reader.read() == b"dne"
    (outcome,) = await world.settled(1)
    assert (outcome["responseStatus"]["code"], outcome["bytesIn"], outcome["bytesOut"]) == (
        101,
        8,
        13,
    )
    assert outcome["class"] == "privileged"
    writer.close()


async def test_lesson_13_a_refused_upgrade_leaves_no_pipe(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(ok(b"no", status=b"400 Bad Request"))

    world.handler = handler
    answer = await world.raw(
        (
            f"GET {PODS}/p/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            f"DELETE {PODS}/p HTTP/1.1\r\nHost: x\r\n\r\n"
        ).encode()
    )
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.endswith(b"no")
    assert len(world.requests) == 1


async def test_pipelined_requests_are_served_in_order(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        name = exchange.line.split()[1].rsplit("/", 1)[1]
        await asyncio.sleep(0.02 if name == "a" else 0)
        await exchange.answer(ok(name.encode()))

    world.handler = handler
    close = "Connection: close\r\n"
    answer = await world.raw(
        "".join(
            f"GET {PODS}/{name} HTTP/1.1\r\nHost: x\r\n{close if name == 'c' else ''}\r\n"
            for name in "abc"
        ).encode()
    )
    bodies = [part[:1] for part in answer.split(b"\r\n\r\n")[1:]]
    assert bodies == [b"a", b"b", b"c"]


async def test_expect_continue_is_answered_when_the_call_may_go_on(world: World) -> None:
    reader, writer = await world.connect()
    writer.write(
        f"POST {PODS} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode()
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    assert world.requests[0].body == b"{}"
    writer.close()


async def test_an_upstream_that_breaks_off_is_502_and_recorded(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.writer.close()

    world.handler = handler
    status, headers, body = await world.get(PODS, method="DELETE")
    assert status == 502
    assert "retry-after" not in headers
    assert json.loads(body)["status"] == "Failure"
    assert world.terminals()[0]["closeReason"] == "upstream-failed"
