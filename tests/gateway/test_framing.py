"""What is not one clear request is refused, recorded, and ends the connection.

Sources: RFC 9112; the classes of http-garden and smuggler that apply to an HTTP/1.1 server; lessons
14 and 22 of the security notes. Each case is followed by a second request on the same socket: it
must never be taken for a call of its own.
"""

import base64
import json
import re

import pytest

from proxy.settings import Limits, Settings
from tests.gateway.conftest import Make
from tests.gateway.world import Exchange, World

PATH = "/clusters/prod/api/v1/namespaces/default/pods"
SECOND = b"GET /clusters/prod/api/v1/namespaces/smuggled/pods HTTP/1.1\r\nHost: x\r\n\r\n"


def post(*headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", *headers, "", ""]).encode() + body


SMUGGLING = {
    "content length twice": post("Host: x", "Content-Length: 0", "Content-Length: 70"),
    "content length and chunked": post(
        "Host: x", "Content-Length: 4", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "chunked and content length": post(
        "Host: x", "Transfer-Encoding: chunked", "Content-Length: 4", body=b"0\r\n\r\n"
    ),
    "content length with a plus": post("Host: x", "Content-Length: +0"),
    "content length in hex": post("Host: x", "Content-Length: 0x0"),
    "content length with an underscore": post("Host: x", "Content-Length: 0_0"),
    "content length as a list": post("Host: x", "Content-Length: 0, 0"),
    "content length empty": post("Host: x", "Content-Length: "),
    "content length negative": post("Host: x", "Content-Length: -1"),
    "unknown transfer encoding": post("Host: x", "Transfer-Encoding: xchunked"),
    "gzip and chunked": post("Host: x", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "h2c": post("Host: x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
    "websocket or h2c": post("Host: x", "Connection: Upgrade", "Upgrade: websocket, h2c"),
    "websocket and h2c": post(
        "Host: x", "Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"
    ),
    "chunked not last": post("Host: x", "Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "transfer encoding twice": post(
        "Host: x", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=b"0\r\n\r\n"
    ),
    "transfer encoding with a tab": post(
        "Host: x", "Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n"
    ),
    "blank before the colon": post("Host: x", "Content-Length : 0"),
    "obsolete folding": post("Host: x", "X-A: b", " c"),
    "blank at the start of a header": post(" Host: x"),
    "bare line feeds": f"GET {PATH} HTTP/1.1\nHost: x\n\n".encode(),
    "bare carriage return": post("Host: x", "X-A: b\rContent-Length: 5"),
    "nul in a value": post("Host: x", "X-A: b\x00c"),
    "no name": post("Host: x", ": b"),
    "chunk size with an underscore": post(
        "Host: x", "Transfer-Encoding: chunked", body=b"0_0\r\n\r\n"
    ),
    "chunk size with 0x": post("Host: x", "Transfer-Encoding: chunked", body=b"0x0\r\n\r\n"),
    "chunk size negative": post("Host: x", "Transfer-Encoding: chunked", body=b"-0\r\n\r\n"),
    "chunk size too large": post(
        "Host: x", "Transfer-Encoding: chunked", body=b"10000000000000000\r\n\r\n"
    ),
    "chunk ended by a line feed": post(
        "Host: x", "Transfer-Encoding: chunked", body=b"1\na\n0\n\n"
    ),
    "chunk longer than announced": post(
        "Host: x", "Transfer-Encoding: chunked", body=b"1\r\nab\r\n0\r\n\r\n"
    ),
    "no host": post("X-A: b"),
    "two hosts": post("Host: x", "Host: y"),
    "http 1.0": f"GET {PATH} HTTP/1.0\r\nHost: x\r\n\r\n".encode(),
    "http 0.9": f"GET {PATH}\r\n\r\n".encode(),
    "http 1.2": f"GET {PATH} HTTP/1.2\r\nHost: x\r\n\r\n".encode(),
    "http 2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "upgrade with a body": post(
        "Host: x", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 70"
    ),
    "upgrade with a chunked body": post(
        "Host: x", "Connection: Upgrade", "Upgrade: websocket", "Transfer-Encoding: chunked"
    ),
    "connect": b"CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "garbage": b"\x16\x03\x01\x00\xa5\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
async def test_unclear_framing_never_becomes_two_calls(world: World, name: str) -> None:
    answer = await world.raw(SMUGGLING[name] + SECOND)
    assert b"smuggled" not in b"".join(exchange.head for exchange in world.requests)
    assert answer[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 505", b"HTTP/1.1 404", b"HTTP/1.1 502"}, (
        answer
    )
    assert len(re.findall(rb"HTTP/1\.1 \d\d\d ", answer)) == 1
    assert len(world.journal.lines) >= 1


TARGETS = {
    "dot segments": "/clusters/prod/api/v1/namespaces/a/../b/pods",
    "encoded dot segments": "/clusters/prod/api/v1/namespaces/a/%2e%2E/b/pods",
    "out of the prefix": "/clusters/prod/../other/api/v1/pods",
    "encoded slash": "/clusters/prod/api/v1/namespaces/default%2fpods",
    "empty segment": "/clusters/prod/api/v1//pods",
    "double slash first": "/clusters/prod//api/v1/pods",
    "absolute form": "https://prod/api/v1/pods",
    "fragment": "/clusters/prod/api/v1/pods#x",
    "nul": "/clusters/prod/api/v1/pods/%00",
    "backslash": "/clusters/prod/api/v1\\pods",
    "asterisk": "*",
}


@pytest.mark.parametrize("name", TARGETS)
async def test_lesson_16_targets_that_parsers_disagree_about_are_refused(
    world: World, name: str
) -> None:
    status, _, _ = await world.get(TARGETS[name], method="OPTIONS" if name == "asterisk" else "GET")
    assert status in {400, 404}
    assert world.requests == []
    assert world.journal.lines


async def test_lesson_22_hostile_text_is_recorded_losslessly(world: World) -> None:
    agent = b"\xff\xfe \xc3\xa9 \xf0\x9f\x98\x80 <script>\x1b[31m" + b"A" * 65_536
    answer = await world.raw(
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: ".encode()
        + agent
        + b"\r\n\r\n"
    )
    if b"\x1b" in agent and answer.startswith(b"HTTP/1.1 400"):
        agent = agent.replace(b"\x1b", b"")
        answer = await world.raw(
            f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: ".encode()
            + agent
            + b"\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 200")
    outcome = world.terminals()[-1]
    assert base64.b64decode(outcome["raw"]["userAgent"]) == agent
    assert "\\xff\\xfe" in outcome["userAgent"]


SMALL_HEADS = Settings(listen="127.0.0.1:0", limits=Limits(header_bytes=16_384))


@pytest.mark.parametrize(
    "headers",
    [f"X-A: {'a' * 20_000}\r\n", "a:\r\n" * 1_100],
    ids=["too long", "too many"],
)
async def test_a_head_over_the_limit_is_refused_and_recorded(
    make_world: Make, headers: str
) -> None:
    world = await make_world(SMALL_HEADS)
    answer = await world.raw(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400")
    assert world.journal.lines[0]["reason"] == "unreadable-request"


async def test_trailers_that_go_on_for_ever_are_cut(make_world: Make) -> None:
    world = await make_world(SMALL_HEADS)

    async def handler(exchange: Exchange) -> None:
        await exchange.reader.read()

    world.handler = handler
    reader, writer = await world.connect()
    writer.write(post("Host: x", "Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\nX-A: "))
    await world.until(lambda: world.requests)
    writer.write(b"a" * 40_000)
    assert await reader.read() == b""
    (outcome,) = await world.settled(1)
    assert outcome["closeReason"] == "client-gone"
    writer.close()


async def test_a_head_of_nearly_a_mebibyte_passes(world: World) -> None:
    command = "&".join(f"command={'a' * 1000}" for _ in range(250))
    more = [f"X-More-{number}: {'a' * 10_000}" for number in range(70)]
    status, _, _ = await world.get(f"{PATH}/p/log?{command}", *more)
    assert status == 200


async def test_outside_any_cluster_a_text_says_so(world: World) -> None:
    status, headers, body = await world.get("/healthz")
    assert (status, headers["content-type"].partition(";")[0]) == (404, "text/plain")
    assert b"/clusters/NAME" in body


async def test_an_unknown_cluster_and_a_forbidden_one_look_alike(world: World) -> None:
    answers = []
    for name in ("other", "nowhere"):
        status, _, body = await world.get(f"/clusters/{name}/api/v1/pods")
        answers.append((status, json.loads(body)["message"].replace(name, "X")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 403
    assert world.requests == []
