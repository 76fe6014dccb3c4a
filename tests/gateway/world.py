"""A data plane in one process: real TLS, real sockets, a scripted API server behind it.

The journal here keeps records in memory and resolves them when told to, so a test can look at
what was durable at any moment. It implements the same port as the real one.
"""

import asyncio
import datetime as dt
import ipaddress
import json
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.audit.gate import Gate
from proxy.audit.port import JournalUnavailableError
from proxy.authn.certificate import identify
from proxy.authn.suspicion import Suspicion
from proxy.clock import SystemClock
from proxy.gateway.listener import DataPlane
from proxy.metrics import Metrics
from proxy.settings import Settings
from proxy.state.access import NO_ACCESS, Access
from proxy.state.snapshot import ClusterRecord, Credential, Snapshot, Usage
from proxy.upstream.cluster import Target

DAY = dt.timedelta(days=1)


@dataclass
class Pair:
    """A certificate and its key, as PEM, and as files for ssl."""

    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.cert.public_bytes(serialization.Encoding.DER)

    def pem(self) -> tuple[bytes, bytes]:
        return (
            self.cert.public_bytes(serialization.Encoding.PEM),
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def load_into(self, context: ssl.SSLContext) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pair.pem"
            path.write_bytes(b"".join(self.pem()))
            context.load_cert_chain(path)


def make(
    name: str,
    issuer: Pair | None = None,
    *,
    groups: tuple[str, ...] = (),
    usage: x509.ObjectIdentifier | None = None,
    ends: dt.timedelta = DAY,
    starts: dt.timedelta = -DAY,
) -> Pair:
    """A certificate; self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        + [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    )
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.cert.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Pair(builder.sign((issuer.key if issuer else key), hashes.SHA256()), key)


class MemoryJournal:
    """A journal whose disk is a list; `hold` keeps records waiting, `failure` refuses them."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.failure = ""
        self.reserve_left = 0
        self.hold = False
        self.waiting: list[tuple[dict[str, Any], asyncio.Future[int]]] = []
        self.refuse_from: int | None = None
        self.failed = False
        """Whether a record was ever refused; ends may be missing then."""

    def append(
        self, body: bytes, *, urgent: bool = True, reserve: bool = False
    ) -> asyncio.Future[int]:
        del urgent
        if self.failure and not (reserve and self.reserve_left > 0):
            self.failed = True
            raise JournalUnavailableError(self.failure)
        record = json.loads(b"{" + body + b"}")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting.append((record, future))
        if not self.hold:
            asyncio.get_running_loop().call_soon(self.sync)
        return future

    def post(self, body: bytes) -> None:
        self.append(body).add_done_callback(lambda future: future.cancelled() or future.exception())

    def sync(self) -> None:
        """Everything that waits becomes durable, or fails."""
        waiting, self.waiting = self.waiting, []
        for record, future in waiting:
            full = self.refuse_from is not None and len(self.lines) >= self.refuse_from
            if not full:
                self.lines.append(record)
            self.failed = self.failed or full
            if future.done():
                continue
            if full:
                future.set_exception(JournalUnavailableError("the disk is full"))
            else:
                future.set_result(len(self.lines))

    def stages(self) -> list[str]:
        return [line.get("stage", line["kind"]) for line in self.lines]

    def calls(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for line in self.lines:
            if line["kind"] == "Event":
                found.setdefault(line["auditID"], []).append(line)
        return found


Handler = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request as the API server behind the proxy received it."""

    head: bytes
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    def headers(self, name: str) -> list[str]:
        found = []
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b": ")
            if key.decode().lower() == name.lower():
                found.append(value.decode())
        return found

    async def answer(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


def ok(body: bytes, *more: bytes, status: bytes = b"200 OK") -> bytes:
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *more, b"", b""]
    return b"\r\n".join(head) + body


async def echo_ok(exchange: Exchange) -> None:
    await exchange.answer(ok(b'{"kind":"PodList"}', b"Content-Type: application/json"))


@dataclass
class World:
    """Everything a gateway test needs; made by the `world` fixture."""

    ca: Pair
    plane: DataPlane
    journal: MemoryJournal
    gate: Gate
    metrics: Metrics
    suspicion: Suspicion
    address: tuple[str, int]
    credentials: dict[str, Credential]
    clusters: dict[str, ClusterRecord]
    targets: dict[str, Target]
    clients: dict[str, Pair]
    requests: list[Exchange] = field(default_factory=list)
    handler: Handler = echo_ok
    backend: asyncio.Server | None = None
    context: ssl.SSLContext | None = None
    access: Access = NO_ACCESS

    def snapshot(self) -> Snapshot:
        credentials, clusters = MappingProxyType(self.credentials), MappingProxyType(self.clusters)
        return Snapshot(1, credentials, clusters, self.access)

    def issue(
        self, user: str, *groups: str, clusters: tuple[str, ...] = ("prod",), **more: Any
    ) -> Pair:
        pair = make(user, self.ca, groups=groups, usage=ExtendedKeyUsageOID.CLIENT_AUTH, **more)
        found = identify(pair.der)
        self.credentials[found.serial] = Credential(
            found.serial,
            user,
            tuple(groups),
            clusters,
            Usage.KUBECTL,
            0,
            found.not_after,
            found.fingerprint,
        )
        self.clients[user] = pair
        return pair

    def revoke(self, user: str) -> None:
        serial = identify(self.clients[user].der).serial
        self.credentials[serial] = msgspec.structs.replace(self.credentials[serial], revoked_at=1.0)
        self.plane.state_changed()

    def client_context(self, pair: Pair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.pem()[0].decode())
        if pair is not None:
            pair.load_into(context)
        return context

    async def connect(
        self, user: str | None = "alice", source: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection with a user's certificate, from any address of 127.0.0.0/8."""
        pair = self.clients[user] if user is not None else None
        return await asyncio.open_connection(
            *self.address,
            ssl=self.client_context(pair),
            server_hostname="localhost",
            limit=2**24,
            local_addr=(source, 0),
        )

    async def raw(
        self, data: bytes, user: str | None = "alice", source: str = "127.0.0.1"
    ) -> bytes:
        """Send bytes on a new connection and read until the proxy closes it."""
        reader, writer = await self.connect(user, source)
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer

    async def get(
        self,
        path: str,
        *headers: str,
        user: str | None = "alice",
        method: str = "GET",
        body: bytes = b"",
        source: str = "127.0.0.1",
    ) -> tuple[int, dict[str, str], bytes]:
        """One request; returns status, headers (last of each, lower-cased), body."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        answer = await self.raw("\r\n".join([*lines, "", ""]).encode() + body, user, source)
        return parse(answer)

    async def settled(self, count: int) -> list[dict[str, Any]]:
        """Wait until `count` terminal events are on record; returns them."""
        async with asyncio.timeout(5):
            while len(self.terminals()) < count:
                await asyncio.sleep(0.005)
        return self.terminals()

    def gauge(self, name: str) -> float:
        """The value of one of the metrics without labels."""
        for metric in getattr(self.metrics, name).collect():
            return float(metric.samples[0].value)
        raise AssertionError(name)

    def refusals(self, reason: str) -> float:
        """How often something was refused for one reason."""
        return (
            self.metrics.registry.get_sample_value("kubewitness_refusals_total", {"reason": reason})
            or 0.0
        )

    async def until(self, condition: Callable[[], object], seconds: float = 5) -> None:
        """Wait until something is true; fails after a while."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.002)

    def connection_events(self) -> list[dict[str, Any]]:
        return [line for line in self.journal.lines if line["kind"] == "ConnectionEvent"]

    def terminals(self) -> list[dict[str, Any]]:
        return [
            line
            for line in self.journal.lines
            if line.get("stage") in {"ResponseComplete", "Panic"}
        ]


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    if headers.get("transfer-encoding") == "chunked":
        body = dechunk(body)
    return int(lines[0].split()[1]), headers, body


def dechunk(data: bytes) -> bytes:
    """Strict: raises when the body does not end as it must."""
    found = b""
    while True:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            assert rest.endswith(b"\r\n"), rest
            return found
        found += rest[:length]
        assert rest[length : length + 2] == b"\r\n"
        data = rest[length + 2 :]


async def start(settings: Settings | None = None) -> World:
    """A running data plane with one cluster, `prod`, and one user, `alice` of group `dev`."""
    ca = make("test authority")
    server = make("localhost", ca, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_into(context)
    context.load_verify_locations(cadata=ca.pem()[0].decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    backend_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_into(backend_context)
    world: World

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                exchange = Exchange(head[:-4], b"", reader, writer)
                length = exchange.headers("content-length")
                if length:
                    exchange.body = await reader.readexactly(int(length[0]))
                world.requests.append(exchange)
                await world.handler(exchange)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    backend = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=backend_context, limit=2**24)
    port = backend.sockets[0].getsockname()[1]
    trust = ssl.create_default_context(cadata=ca.pem()[0].decode())
    target = Target(
        "prod", "127.0.0.1", port, tls=trust, authorization=lambda: b"Bearer proxy-token"
    )
    journal = MemoryJournal()
    metrics = Metrics()
    gate = Gate(clock=SystemClock(), metrics=metrics)
    settings = settings or Settings(listen="127.0.0.1:0")
    clusters = {
        name: ClusterRecord(name, f"id-{name}", "https://127.0.0.1", 0, b"")
        for name in ("prod", "other")
    }
    targets = {"prod": target, "other": replace(target, name="other")}
    suspicion = Suspicion(settings.suspicious, clock=SystemClock(), metrics=metrics)
    plane = DataPlane(
        settings=settings,
        clock=SystemClock(),
        metrics=metrics,
        journal=journal,
        gate=gate,
        snapshot=lambda: world.snapshot(),  # noqa: PLW0108  # world is made below
        target=targets.get,
        suspicion=suspicion,
        server_context=lambda: context,
    )
    world = World(
        ca,
        plane,
        journal,
        gate,
        metrics,
        suspicion,
        ("", 0),
        {},
        clusters,
        targets,
        {},
        backend=backend,
        context=context,
    )
    world.issue("alice", "dev")
    world.address = await plane.start()
    return world


async def stop(world: World) -> None:
    """End it; streams still open are cut."""
    world.journal.hold = False
    world.journal.sync()
    await world.plane.drain(0)
    world.gate.close()
    assert world.backend is not None
    world.backend.close()
    for _ in range(10):  # closing a TLS transport takes the loop some turns; it must get them
        await asyncio.sleep(0)
