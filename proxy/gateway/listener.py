"""The data plane's door: accept, learn the true source, shake hands, hand over to a connection."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Final

from proxy.audit.event import CloseReason
from proxy.audit.gate import Gate
from proxy.audit.port import Journal
from proxy.audit.strangers import Strangers
from proxy.authn.suspicion import Suspicion
from proxy.authz.access_review import ClusterAccessReviewer
from proxy.clock import Clock
from proxy.gateway.accepting import Accepting, Arrival, FailedConnections
from proxy.gateway.admission import Admission
from proxy.gateway.connection import ClientConnection
from proxy.gateway.observing import Observer
from proxy.gateway.pipeline import Pipeline
from proxy.gateway.request import Request
from proxy.gateway.responding import head
from proxy.gateway.serving import Waiting
from proxy.gateway.suspecting import Suspecting
from proxy.heap import Thrift
from proxy.kube.status import error_response
from proxy.metrics import Metrics
from proxy.settings import Limits, Settings, split_address
from proxy.state.snapshot import Snapshot
from proxy.tasks import cancel, spawn
from proxy.upstream.cluster import Target
from proxy.upstream.pool import Pool, keep_alive
from proxy.wire import proxy_protocol

BACKLOG: Final = 4096
BURST: Final = 256
"""Handshakes after which the memory that they needed is given back, once none follows: each leaves
some 10 KB in holes between what its connection keeps."""
SWEEP: Final = 0.5
"""Seconds between looks at deadlines, and at certificates and grants that ended during a stream."""
CUT_TIMEOUT: Final = 5.0
"""Seconds that cut calls get to write their last event."""


class DataPlane:
    """The listener of one process, with its connections and its pools."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        journal: Journal,
        gate: Gate,
        snapshot: Callable[[], Snapshot],
        target: Callable[[str], Target | None],
        suspicion: Suspicion,
        server_context: Callable[[], ssl.SSLContext],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._snapshot = snapshot
        self._context = server_context
        self._trusted = [ipaddress.ip_network(network) for network in settings.trusted_proxies]
        self._strangers = Strangers(
            "data", journal, clock, metrics, per_minute=settings.limits.recorded_refusals
        )
        self._pool = Pool(settings.upstream, clock)
        self._observer = Observer(metrics, lambda name: name in snapshot().clusters)
        self._pipeline = Pipeline(
            journal=journal,
            clock=clock,
            snapshot=snapshot,
            target_of=target,
            reviewer=ClusterAccessReviewer(self._pool),
            refuse_unregistered=settings.access.unregistered == "refuse",
            pool=self._pool,
            observer=self._observer,
            admission=Admission(
                gate, journal, settings.journal.break_glass_group, clock=clock, metrics=metrics
            ),
            suspecting=Suspecting(suspicion),
            strangers=self._strangers,
            domain=settings.domain,
        )
        self._connections: set[ClientConnection] = set()
        self._emptied = asyncio.Event()
        self._thrift = Thrift(BURST)
        self._failed = FailedConnections("data", journal, metrics, clock, self._strangers).record
        self._accepting = Accepting(
            self._greet,
            seconds=settings.tls.handshake_timeout,
            room=self._room,
            failed=self._failed,
        )
        self._socket: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self.limits: Limits = settings.limits

    # --- life --------------------------------------------------------------------------------

    async def start(self, sock: socket.socket | None = None) -> tuple[str, int]:
        """Listen on `settings.listen`, or on a bound socket handed in; returns the address.

        Raises OSError when the address cannot be bound.
        """
        listener = sock if sock is not None else self._bind()
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._socket = listener
        self._tasks = [
            spawn(self._accepting.run(listener), name="accept"),
            spawn(self._sweep(), name="sweep connections"),
        ]
        address = listener.getsockname()
        return str(address[0]), int(address[1])

    def _bind(self) -> socket.socket:
        host, port = split_address(self._settings.listen)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._settings.workers > 1:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        return listener

    async def failed(self) -> None:
        """Wait until a task that the listener cannot do without has ended; raise its error."""
        ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    def state_changed(self) -> None:
        """Cut what the new state no longer allows: revoked credentials and grants, removed clusters."""
        now = self._clock.now()
        for connection in list(self._connections):
            if not self._stands(connection, now):
                connection.cut(CloseReason.REVOKED)

    async def drain(self, timeout: float) -> None:
        """Stop accepting, let calls end for `timeout` seconds, then cut the rest."""
        self._draining = True
        await cancel(*self._tasks[:1])
        if self._socket is not None:
            self._socket.close()
        for connection in list(self._connections):
            connection.drain_idle()
        await self._empty(timeout)
        await self._accepting.stop()
        for connection in list(self._connections):
            connection.cut(CloseReason.DRAINED)
        await self._empty(CUT_TIMEOUT)
        await cancel(*self._tasks)
        self._strangers.close()
        self._observer.flush()
        await self._pool.settled(1.0)
        self._pool.close()

    async def _empty(self, timeout: float) -> None:
        """Wait until no connection is left, at most `timeout` seconds."""
        if self._connections:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._emptied.wait()

    # --- accepting ---------------------------------------------------------------------------

    def _room(self, greeting: int) -> bool:
        if len(self._connections) + greeting < self.limits.connections:
            return True
        self._observer.refused("connection-limit")
        return False

    async def _greet(self, arrival: Arrival) -> None:
        """Learn the true source and shake hands."""
        sock = arrival.socket
        arrival.source = _plain(arrival.source)
        keep_alive(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            arrival.source = await self._true_source(sock, arrival.source)
        except proxy_protocol.InvalidProxyHeader as error:
            self._failed(arrival.source, "proxy-protocol", str(error))
            sock.close()
        else:
            await self._shake_hands(sock, arrival.source)

    async def _true_source(self, sock: socket.socket, peer: str) -> str:
        """The peer, or whom a trusted balancer speaks for (PROXY protocol v2, required of it)."""
        if not self._trusted:
            return peer
        address = ipaddress.ip_address(peer)
        if not any(address in network for network in self._trusted):
            return peer
        fixed = await _receive(sock, proxy_protocol.FIXED)
        payload = await _receive(sock, proxy_protocol.payload_length(fixed))
        source = proxy_protocol.source(fixed, payload)
        return peer if source is None else _plain(source.address)

    async def _shake_hands(self, sock: socket.socket, source: str) -> None:
        task = asyncio.current_task()

        def connection() -> ClientConnection:
            made = ClientConnection(self, source)
            made.handshake = task
            return made

        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(connection, sock, ssl=self._context())

    # --- serving (proxy.gateway.connection.Server) -------------------------------------------

    def opened(self, connection: ClientConnection) -> None:
        """A handshake is done: keep the connection until it closes."""
        self._connections.add(connection)
        self._thrift.count()
        if connection.handshake is not None:
            # Counted once: as a handshake until here, as a connection from here.
            self._accepting.served(connection.handshake)
            connection.handshake = None
        self._metrics.connections_open.inc()
        if self._draining:
            connection.drain_idle()

    async def serve(self, connection: ClientConnection, request: Request) -> None:
        """Serve one request."""
        await self._pipeline.serve(connection, request)

    async def unreadable(self, connection: ClientConnection, why: str) -> None:
        """Bytes that are no request: record them, answer 400, and take nothing more."""
        self._failed(connection.source, "unreadable-request", why)
        headers, text = error_response(None, 400, f"the request could not be read: {why}")
        length = (b"Content-Length", b"%d" % len(text))
        connection.write(head(400, headers, length, (b"Connection", b"close")) + text)
        await connection.drained()

    def closed(self, connection: ClientConnection) -> None:
        """Forget a connection."""
        if connection in self._connections:
            self._connections.discard(connection)
            self._metrics.connections_open.dec()
            if not self._connections:
                self._emptied.set()

    # --- deadlines ---------------------------------------------------------------------------

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP)
            now = self._clock.now()
            for connection in list(self._connections):
                if connection.waiting is not Waiting.NOTHING:
                    if loop.time() > connection.deadline:
                        self._too_slow(connection)
                elif not self._stands(connection, now):
                    connection.cut(CloseReason.REVOKED)
                elif connection.left():
                    connection.cut(CloseReason.CLIENT_GONE)
            self._pool.sweep()
            self._observer.flush()
            self._thrift.look()

    def _too_slow(self, connection: ClientConnection) -> None:
        if connection.waiting is Waiting.HEAD:
            self._failed(connection.source, "slow-request", "the request head did not end in time")
        connection.abort()

    def _stands(self, connection: ClientConnection, now: float) -> bool:
        """Whether a connection's credential, its call's cluster and its grants are still good."""
        identity = connection.identity
        if identity is None:
            return True
        snapshot = self._snapshot()
        credential = snapshot.credentials.get(identity.serial)
        if credential is None or credential.revoked_at is not None or credential.not_after <= now:
            return False
        cluster = connection.cluster
        if cluster is not None:
            # One added again under the same name, or moved to another server, is another cluster.
            current = snapshot.clusters.get(cluster.name)
            if current is None or (current.id, current.server) != (cluster.id, cluster.server):
                return False
        return connection.permit is None or connection.permit.stands(snapshot.access, now)


def _plain(address: str) -> str:
    """An address as people write it: IPv4 without the form it has on an IPv6 socket."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


async def _receive(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        more = await loop.sock_recv(sock, size - len(data))
        if not more:
            raise proxy_protocol.InvalidProxyHeader("the connection ended in the PROXY header")
        data += more
    return data
