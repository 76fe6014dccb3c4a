"""Sockets of ours: conflicts are named, and a new TLS context does not close the address."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from proxy.cli.client import Client
from proxy.cli.connection import of_data_dir
from proxy.clock import SystemClock
from proxy.errors import UnavailableError
from proxy.pki.authorities import Authorities
from proxy.pki.server import server_certificate
from proxy.runtime.web import WebListener, address_of, bind
from tests.runtime.processes import initialised, running


@pytest.mark.parametrize("shared", [False, True])
def test_an_address_somebody_listens_on_is_refused(shared: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = address_of(taken)
        with pytest.raises(UnavailableError, match=f"Cannot listen on {address}.*--listen"):
            bind(address, "listen", shared=shared)


def test_a_shared_address_is_for_those_who_share_it() -> None:
    with bind("127.0.0.1:0", "listen", shared=True) as first:
        first.listen()
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(first.getsockname())
        with pytest.raises(UnavailableError):
            bind(address_of(first), "listen", shared=True)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_addresses_come_back_as_they_are_written(address: str) -> None:
    with bind(address, "listen") as sock:
        host, _, port = address_of(sock).rpartition(":")
        assert host in {"127.0.0.1", "[::1]"}
        assert int(port) > 0


def test_a_name_nobody_knows_is_an_error_with_advice() -> None:
    with pytest.raises(UnavailableError, match="--metrics"):
        bind("no-such-host.invalid:1", "metrics")


async def test_a_new_context_is_for_new_connections_and_old_ones_go_on(tmp_path: Path) -> None:
    authorities = Authorities.open(tmp_path, clock=SystemClock())
    contexts: list[ssl.SSLContext] = []

    def current() -> ssl.SSLContext:
        return contexts[-1]

    def make(name: str) -> None:
        made = server_certificate(authorities, [name], clock=SystemClock())
        contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        contexts[-1].load_cert_chain(made.certificate, made.key)

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    make("old.example")
    app = web.Application()
    app.router.add_get("/", hello)
    listener = WebListener(app, bind("127.0.0.1:0", "control"), current)
    await listener.start()
    client = ssl.create_default_context(cadata=authorities.bundle_pem().decode())
    host, port = listener.address.split(":")
    reader, writer = await asyncio.open_connection(
        host, port, ssl=client, server_hostname="old.example"
    )
    make("new.example")

    async with (
        ClientSession() as session,
        session.get(
            f"https://{listener.address}/", ssl=client, server_hostname="new.example"
        ) as answer,
    ):
        assert await answer.text() == "hello"
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"hello")
    writer.close()
    await writer.wait_closed()
    await listener.stop()
    with pytest.raises(OSError):
        await asyncio.open_connection(host, port)


async def test_a_handshake_that_fails_is_told_with_its_source_and_why(tmp_path: Path) -> None:
    authorities = Authorities.open(tmp_path / "ours", clock=SystemClock())
    strangers = Authorities.open(tmp_path / "theirs", clock=SystemClock())
    made = server_certificate(authorities, ["x.example"], clock=SystemClock())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    context.load_verify_locations(cadata=authorities.bundle_pem().decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    told: list[tuple[str, str, str]] = []
    listener = WebListener(
        web.Application(),
        bind("127.0.0.1:0", "control"),
        lambda: context,
        lambda *failure: told.append(failure),
    )
    await listener.start()
    host, port = listener.address.split(":")

    theirs = server_certificate(strangers, ["admin"], clock=SystemClock())
    client = ssl.create_default_context(cadata=authorities.bundle_pem().decode())
    client.load_cert_chain(theirs.certificate, theirs.key)
    await refused(host, int(port), client, "x.example")
    _, plain = await asyncio.open_connection(host, port)
    plain.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        while len(told) < 2:
            await asyncio.sleep(0.01)
    plain.close()
    await listener.stop()
    assert [(source, reason) for source, reason, _ in told] == [("127.0.0.1", "tls-handshake")] * 2
    assert told[0][2].startswith("client certificate refused: ")
    assert told[1][2] == "http request"


async def refused(host: str, port: int, context: ssl.SSLContext, name: str) -> None:
    """Connect with a certificate that is refused: by an error, or an end without an answer."""
    try:
        reader, writer = await asyncio.open_connection(
            host, port, ssl=context, server_hostname=name
        )
        writer.write(b"GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.read() == b""
    except OSError:
        return
    writer.close()


async def test_a_certificate_of_strangers_is_on_record_as_a_failed_connection(
    own_environment: None, tmp_path: Path
) -> None:
    settings = initialised(tmp_path / "one")
    strangers = Authorities.open(tmp_path / "strangers", clock=SystemClock())
    theirs = server_certificate(strangers, ["admin"], clock=SystemClock())
    async with running(settings):
        server = of_data_dir(settings.data_dir)
        context = ssl.create_default_context(cadata=server.ca)
        context.load_cert_chain(theirs.certificate, theirs.key)
        await refused(server.host, server.port, context, server.host)
        client = Client(server)
        query = {"kind": "connection", "limit": 10}
        async with asyncio.timeout(10):
            found: list[dict[str, object]] = []
            while not found:
                found = (await asyncio.to_thread(client.get, "/audit/calls", query))["items"]
                await asyncio.sleep(0.05)
    (event,) = found
    assert (event["listener"], event["reason"]) == ("control", "tls-handshake")
    assert event["sourceIPs"] == ["127.0.0.1"]
    assert str(event["message"]).startswith("client certificate refused: ")
