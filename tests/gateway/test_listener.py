"""The door: handshakes, sources, limits; what never becomes a call is recorded as a connection."""

import asyncio
import contextlib
import datetime as dt
import gc
import json
import socket
import ssl
import time

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.authn.certificate import identify
from proxy.settings import TLS, Limits, Settings
from proxy.state.snapshot import Usage
from tests.gateway.conftest import Make
from tests.gateway.world import Exchange, Pair, World, make

PODS = "/clusters/prod/api/v1/namespaces/default/pods"
GET = f"GET {PODS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
HOUR = dt.timedelta(hours=1)
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


# --- certificates ----------------------------------------------------------------------------


def of_another_authority(world: World) -> Pair:
    del world
    return make("alice", make("test authority"), usage=ExtendedKeyUsageOID.CLIENT_AUTH)


def expired(world: World) -> Pair:
    return world.issue("late", ends=-HOUR)


def not_yet_valid(world: World) -> Pair:
    return world.issue("early", starts=HOUR)


def of_a_server(world: World) -> Pair:
    return make("alice", world.ca, usage=ExtendedKeyUsageOID.SERVER_AUTH)


def self_signed(world: World) -> Pair:
    del world
    return make("alice")


@pytest.mark.parametrize(
    "certificate", [of_another_authority, expired, not_yet_valid, of_a_server, self_signed]
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_lesson_10_certificates_that_do_not_verify_end_the_handshake(
    world: World, certificate: object, version: ssl.TLSVersion
) -> None:
    assert callable(certificate)
    context = world.client_context(certificate(world))
    context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await _call(world, context)
    await world.until(world.connection_events)
    (event,) = world.connection_events()
    assert (event["reason"], event["sourceIPs"]) == ("tls-handshake", ["127.0.0.1"])
    assert "client certificate refused" in event["message"]
    assert world.requests == []
    assert world.refusals("tls-handshake") == 1


async def _call(world: World, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection(
        *world.address, ssl=context, server_hostname="localhost"
    )
    try:
        writer.write(GET)
        answer = await reader.read()
        if not answer:
            raise ConnectionResetError("closed without an answer")
        return answer
    finally:
        writer.transport.abort()


UNKNOWN = {"an unknown serial": None, "renew": Usage.RENEW, "admin": Usage.ADMIN}


@pytest.mark.parametrize("case", UNKNOWN)
async def test_lesson_10_certificates_of_ours_that_are_not_for_calls_get_401(
    world: World, case: str
) -> None:
    pair = world.issue("bob", "dev")
    serial = identify(pair.der).serial
    found = world.credentials.pop(serial)
    usage = UNKNOWN[case]
    if usage is not None:
        values = {name: getattr(found, name) for name in found.__struct_fields__}
        world.credentials[serial] = type(found)(**{**values, "usage": usage})
    status, _, body = await world.get(PODS, user="bob")
    assert (status, json.loads(body)["reason"]) == (401, "Unauthorized")
    (outcome,) = world.terminals()
    assert outcome["user"]["username"] == ""
    assert outcome["credential"] == serial
    assert outcome["annotations"]["kubewitness.io/claimed-user"] == "bob"
    assert world.requests == []


async def test_a_credential_that_expires_ends_its_stream(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await exchange.reader.read()

    world.handler = handler
    reader, writer = await world.connect()
    writer.write(f"GET {PODS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"x\r\n")
    ((serial, found),) = world.credentials.items()
    values = {name: getattr(found, name) for name in found.__struct_fields__}
    world.credentials[serial] = type(found)(**{**values, "not_after": time.time()})
    async with asyncio.timeout(1.5):
        assert b"0\r\n" not in await reader.read()
    assert (await world.settled(1))[0]["closeReason"] == "revoked"
    writer.close()


# --- slow and silent peers -------------------------------------------------------------------

QUICK = Settings(
    listen="127.0.0.1:0",
    tls=TLS(handshake_timeout=1.0),
    limits=Limits(header_timeout=0.3, idle_timeout=0.6),
)


async def test_lesson_29_silent_sockets_do_not_keep_others_out(world: World) -> None:
    silent = [socket.create_connection(world.address) for _ in range(300)]
    begun = time.monotonic()
    assert (await world.get(PODS))[0] == 200
    assert time.monotonic() - begun < 1
    for sock in silent:
        sock.close()
    await world.until(lambda: world.refusals("tls-handshake") == 300)
    await world.until(lambda: len(world.connection_events()) == 60)


@pytest.mark.parametrize(
    "sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
)
async def test_a_handshake_that_stalls_is_cut_and_recorded(make_world: Make, sent: bytes) -> None:
    world = await make_world(QUICK)
    reader, writer = await asyncio.open_connection(*world.address)
    writer.write(sent)
    async with asyncio.timeout(2):
        assert await reader.read() == b""
    (event,) = world.connection_events()
    assert event["reason"] == "tls-timeout"
    writer.close()


async def test_plain_http_is_refused_and_recorded(world: World) -> None:
    reader, writer = await asyncio.open_connection(*world.address)
    writer.write(GET)
    await reader.read()
    await world.until(world.connection_events)
    assert world.connection_events()[0]["message"] == "http request"
    writer.close()


async def test_a_silent_connection_ends_after_the_idle_time(make_world: Make) -> None:
    world = await make_world(QUICK)
    reader, writer = await world.connect()
    async with asyncio.timeout(3):
        assert await reader.read() == b""
    assert world.journal.lines == []
    writer.close()


async def test_a_head_that_drips_is_cut_and_recorded(make_world: Make) -> None:
    world = await make_world(QUICK)
    reader, writer = await world.connect()
    closed = asyncio.create_task(reader.read())
    async with asyncio.timeout(3):
        for byte in GET:
            writer.write(bytes((byte,)))
            if closed.done():
                break
            await asyncio.sleep(0.03)
        with contextlib.suppress(ConnectionError):  # a byte that crosses the close is a reset
            await closed
    assert world.connection_events()[0]["reason"] == "slow-request"
    writer.close()


async def test_a_client_that_leaves_takes_its_tls_session_along(world: World) -> None:
    def sessions() -> int:
        """Of our side, whether anybody still needs them or not."""
        found = (item for item in gc.get_objects() if isinstance(item, ssl.SSLObject))
        return sum(item.server_side for item in found)

    # From here on there is a connection to the cluster, whose other end is here.
    await world.get(PODS)
    gc.collect()
    gc.disable()
    try:
        before = sessions()
        for _ in range(5):
            reader, writer = await world.connect()
            writer.write(GET)
            await reader.readuntil(b"}")
            writer.close()
        await world.until(lambda: world.gauge("connections_open") == 0)
        await world.until(lambda: sessions() <= before)
    finally:
        gc.enable()


async def test_more_connections_than_the_limit_are_refused(make_world: Make) -> None:
    world = await make_world(Settings(listen="127.0.0.1:0", limits=Limits(connections=3)))
    kept = [await world.connect() for _ in range(3)]
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await world.connect()
    assert world.refusals("connection-limit") == 1
    kept.pop()[1].close()
    await world.until(lambda: world.gauge("connections_open") == 2)
    assert (await world.get(PODS))[0] == 200
    for _, writer in kept:
        writer.close()


# --- PROXY protocol --------------------------------------------------------------------------


def proxied(family: int, payload: bytes, *, command: int = 0x21) -> bytes:
    return V2 + bytes((command, family)) + len(payload).to_bytes(2) + payload


def ipv4(source: str) -> bytes:
    ports = b"\x30\x39\x20\xfb"
    return proxied(0x11, socket.inet_aton(source) + b"\x7f\0\0\1" + ports + b"\x04\x00\x01x")


def ipv6(source: str) -> bytes:
    return proxied(0x21, socket.inet_pton(socket.AF_INET6, source) * 2 + b"\x30\x39\x20\xfb")


async def through(world: World, header: bytes) -> bytes:
    sock = socket.create_connection(world.address)
    sock.sendall(header)
    sock.setblocking(False)
    reader, writer = await asyncio.open_connection(
        sock=sock,
        ssl=world.client_context(world.clients["alice"]),
        server_hostname="localhost",
    )
    writer.write(GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"))
    try:
        return await reader.read()
    finally:
        writer.close()


TRUSTED = Settings(listen="127.0.0.1:0", trusted_proxies=("127.0.0.0/8",))
SOURCES = {
    "IPv4": (ipv4("203.0.113.7"), "203.0.113.7"),
    "IPv6": (ipv6("2001:db8::7"), "2001:db8::7"),
    "IPv4 in IPv6": (ipv6("::ffff:203.0.113.7"), "203.0.113.7"),
    "the balancer's own": (proxied(0, b"", command=0x20), "127.0.0.1"),
}


@pytest.mark.parametrize("case", SOURCES)
async def test_lesson_20_a_trusted_balancer_says_where_a_call_comes_from(
    make_world: Make, case: str
) -> None:
    world = await make_world(TRUSTED)
    header, source = SOURCES[case]
    assert (await through(world, header)).startswith(b"HTTP/1.1 200")
    assert [line["sourceIPs"] for line in world.journal.lines] == [[source]] * 2
    assert world.requests[0].headers("x-forwarded-for") == [source]


BAD_HEADERS = {
    "none": b"",
    "version 1": b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n",
    "version 3": proxied(0x11, b"\0" * 12, command=0x31),
    "unknown command": proxied(0x11, b"\0" * 12, command=0x22),
    "a unix socket": proxied(0x31, b"\0" * 216),
    "too short": proxied(0x11, b"\0" * 11),
    "too long": V2 + b"\x21\x11\xff\xff",
}


@pytest.mark.parametrize("case", BAD_HEADERS)
async def test_a_trusted_balancer_must_say_it_rightly(make_world: Make, case: str) -> None:
    world = await make_world(TRUSTED)
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await through(world, BAD_HEADERS[case])
    await world.until(world.connection_events)
    assert world.connection_events()[0]["reason"] == "proxy-protocol"
    assert world.requests == []


@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8",)])
async def test_nobody_else_may_say_where_a_call_comes_from(
    make_world: Make, trusted: tuple[str, ...]
) -> None:
    world = await make_world(Settings(listen="127.0.0.1:0", trusted_proxies=trusted))
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await through(world, ipv4("203.0.113.7"))
    await world.until(world.connection_events)
    event = world.connection_events()[0]
    assert (event["reason"], event["sourceIPs"]) == ("tls-handshake", ["127.0.0.1"])


async def test_a_listener_that_lost_a_task_says_so(world: World) -> None:
    told = asyncio.create_task(world.plane.failed())
    await asyncio.sleep(0.01)
    assert not told.done()

    async def breaks() -> None:
        raise RuntimeError("the sweep broke")

    world.plane._tasks.append(asyncio.create_task(breaks()))
    with pytest.raises(RuntimeError, match="the sweep broke"):
        await world.plane.failed()
    told.cancel()
