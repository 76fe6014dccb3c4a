"""Every way out of a call is recorded once, whoever ends it and when.

That each call has one terminal event, and that nothing stays counted as under way, is asserted by
the `world` fixture after every test of this directory; here are the ways out themselves.
"""

import asyncio
import contextlib
import json
import random
import ssl
from dataclasses import replace

import pytest

from proxy.audit.port import JournalUnavailableError
from tests.gateway.world import Exchange, World, ok

PODS = "/clusters/prod/api/v1/namespaces/default/pods"
LARGE = b"y" * 400_000
ANSWERS = [
    ok(b"{}"),
    ok(LARGE),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(LARGE), LARGE),
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok(b"after hints"),
    b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n" + LARGE,
]
REQUESTS = [
    f"GET {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    f"GET {PODS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    f"DELETE {PODS}/p HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    f"POST {PODS} HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n".encode() + b"u" * 200_000,
    f"POST {PODS}/p/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n".encode()
    + b"early" * 100,
]


@pytest.mark.parametrize("seed", range(8))
async def test_whoever_leaves_at_any_moment_is_recorded_once(world: World, seed: int) -> None:
    chance = random.Random(seed)

    async def handler(exchange: Exchange) -> None:
        answer = ANSWERS[-1 if "/exec" in exchange.line else chance.randrange(4)]
        cut = chance.choice([None, chance.randrange(len(answer)), chance.randrange(120)])
        await asyncio.sleep(chance.choice([0, 0, 0.003]))
        exchange.writer.write(answer if cut is None else answer[:cut])
        if cut is not None:
            await asyncio.sleep(chance.choice([0, 0.003]))
            (exchange.writer.close if chance.random() < 0.5 else exchange.writer.transport.abort)()
            raise ConnectionResetError("cut")

    world.handler = handler

    async def client() -> None:
        reader, writer = await world.connect()
        request = chance.choice(REQUESTS)
        cut = chance.choice([None, None, chance.randrange(len(request))])
        writer.write(request if cut is None else request[:cut])
        patience = chance.choice([0, 0.001, 0.004, 0.02])
        with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(patience):
                while await reader.read(2**16):
                    pass
        writer.transport.abort()

    # On a busy machine most clients leave before their request is read: go on until enough was.
    for rounds in range(60):
        await asyncio.gather(*(client() for _ in range(8)))
        if rounds >= 5 and len(world.journal.calls()) > 10:
            break
    await world.until(lambda: world.gauge("connections_open") == 0)
    await world.until(lambda: len(world.terminals()) == len(world.journal.calls()))
    assert len(world.journal.calls()) > 10


async def test_a_cluster_that_is_down_is_503_and_can_be_asked_again(world: World) -> None:
    world.targets["prod"] = replace(world.targets["prod"], port=1)
    status, headers, body = await world.get(PODS)
    assert (status, json.loads(body)["reason"]) == (503, "ServiceUnavailable")
    assert "retry-after" not in headers
    assert world.terminals()[0]["closeReason"] == "upstream-failed"


async def test_a_cluster_whose_certificate_is_not_trusted_gets_nothing(world: World) -> None:
    world.targets["prod"] = replace(
        world.targets["prod"], tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    status, _, body = await world.get(PODS)
    assert status == 503
    assert "its certificate is not trusted" in json.loads(body)["message"]
    assert b"proxy-token" not in body
    assert world.requests == []


async def test_a_cluster_that_is_not_served_now_says_why(world: World) -> None:
    world.targets["prod"] = replace(world.targets["prod"], refused="its account may do too much")
    status, _, body = await world.get(PODS)
    assert status == 503
    assert "may do too much" in json.loads(body)["message"]
    assert world.requests == []


async def test_a_fault_of_ours_is_recorded_as_a_panic(world: World) -> None:
    def broken() -> bytes:
        raise RuntimeError("a bug")

    world.targets["prod"] = replace(world.targets["prod"], authorization=broken)
    assert await world.raw(f"GET {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == b""
    (outcome,) = world.terminals()
    assert (outcome["stage"], outcome["closeReason"]) == ("Panic", "panic")
    assert outcome["responseStatus"]["code"] == 500
    assert world.requests == []


async def _overdue(world: World, stage: str) -> None:
    """Refuse whoever waits for the next record of `stage`, which is then written after all."""
    journal = world.journal
    while not any(record.get("stage") == stage for record, _ in journal.waiting):
        journal.sync()
        await asyncio.sleep(0.002)
    journal.hold = False
    for _, future in journal.waiting:
        future.set_exception(JournalUnavailableError("the disk has not confirmed a record"))
    await asyncio.sleep(0)
    journal.sync()


async def test_an_outcome_confirmed_too_late_is_followed_by_what_the_client_was_told(
    world: World,
) -> None:
    world.journal.hold = True
    overdue = asyncio.create_task(_overdue(world, "ResponseComplete"))
    status, headers, _ = await world.get(PODS, method="POST", body=b"{}")
    await overdue
    assert status == 503
    await world.until(lambda: len(world.journal.lines) == 3)
    outcome, note = world.journal.lines[1:]
    assert outcome["responseStatus"]["code"] == 200
    assert (note["kind"], note["action"]) == ("SystemEvent", "call.withheld")
    assert note["auditID"] == note["target"] == outcome["auditID"] == headers["audit-id"]
    assert note["detail"] == {
        "recorded": 200,
        "answered": 503,
        "cause": "the disk has not confirmed a record",
    }


async def test_an_answer_cut_before_its_end_is_on_record_as_cut(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(ok(LARGE))

    world.handler = handler
    world.journal.hold = True
    overdue = asyncio.create_task(_overdue(world, "ResponseComplete"))
    answer = await world.raw(f"GET {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await overdue
    assert len(answer) < len(LARGE)
    await world.until(lambda: len(world.journal.lines) == 4)
    note = world.journal.lines[3]
    assert (note["action"], note["detail"]["answered"]) == ("call.withheld", 0)


async def test_an_answer_that_never_began_does_not_end_with_the_clusters_status(
    world: World,
) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(ok(LARGE))

    world.handler = handler
    world.journal.hold = True
    overdue = asyncio.create_task(_overdue(world, "ResponseStarted"))
    status, _, _ = await world.get(PODS)
    await overdue
    assert status == 503
    (outcome,) = await world.settled(1)
    assert outcome["responseStatus"]["code"] == 503
    assert outcome["closeReason"] == "record-failed"
    assert world.journal.stages() == ["RequestReceived", "ResponseStarted", "ResponseComplete"]


async def test_a_refusal_confirmed_too_late_is_corrected_too(world: World) -> None:
    world.journal.hold = True
    overdue = asyncio.create_task(_overdue(world, "ResponseComplete"))
    status, _, _ = await world.get(PODS.replace("prod", "unknown"), user=None)
    await overdue
    assert status == 503
    await world.until(lambda: len(world.journal.lines) == 3)
    note = world.journal.lines[2]
    assert note["detail"]["recorded"] in {401, 404}
