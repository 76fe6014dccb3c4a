"""Connections to clusters, kept open between calls.

A connection carries no identity: who a call is for stands in its head, and a connection is only
given out when its last exchange ended cleanly. Upgrades never come from the pool and never return.
"""

import asyncio
import socket
import ssl
from typing import Final

from proxy.clock import Clock
from proxy.reaching import Upstream
from proxy.tasks import spawn
from proxy.upstream.cluster import Target
from proxy.upstream.connection import UpstreamConnection, UpstreamError

_KEEPALIVE_IDLE: Final = 30
"""Seconds of silence before TCP asks whether the peer is still there (RFC 9293 §3.8.4)."""
_KEEPALIVE_INTERVAL: Final = 15
_KEEPALIVE_PROBES: Final = 4
_USER_TIMEOUT_MS: Final = 900_000
"""A peer that takes no byte for this long is gone (TCP_USER_TIMEOUT, tcp(7)). Not sooner: a person
may stop `kubectl logs -f | less` for minutes."""


def keep_alive(sock: socket.socket) -> None:
    """Make the kernel notice a peer that vanished, within 90 s; watches may be silent for minutes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", _USER_TIMEOUT_MS),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class Pool:
    """Idle connections by target. A replaced target is another key, so nothing is mixed up."""

    def __init__(self, settings: Upstream, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._idle: dict[Target, list[UpstreamConnection]] = {}
        self._attempts: set[asyncio.Task[UpstreamConnection | UpstreamError]] = set()

    async def acquire(self, target: Target) -> UpstreamConnection:
        """An idle connection that is still open, newest first, or a new one.

        Raises UpstreamError when the cluster cannot be reached in time.
        """
        idle = self._idle.get(target)
        while idle:
            connection = idle.pop()
            if not connection.closing:
                return connection
        return await self.connect(target)

    async def connect(self, target: Target) -> UpstreamConnection:
        """A connection of the caller's own. Raises UpstreamError.

        A caller that is cancelled does not interrupt the attempt: the event loop may lose a socket
        whose handshake is cancelled. What the attempt still brings is closed.
        """
        attempt = spawn(self._attempt(target), name=f"connect to {target.name}")
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)
        try:
            outcome = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            attempt.add_done_callback(_close_late)
            raise
        if isinstance(outcome, UpstreamError):
            raise outcome
        return outcome

    async def _attempt(self, target: Target) -> UpstreamConnection | UpstreamError:
        """What came of it; a cluster that is down is no failed task."""
        try:
            return await self._connect(target)
        except UpstreamError as error:
            return error

    async def _connect(self, target: Target) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                transport, connection = await loop.create_connection(
                    UpstreamConnection,
                    target.host,
                    target.port,
                    ssl=target.tls,
                    server_hostname=_verified_name(target),
                )
        except TimeoutError as error:
            raise UpstreamError(
                f"cluster {target.name}: no connection within {self._settings.connect_timeout:g} s"
            ) from error
        except ssl.SSLCertVerificationError as error:
            raise UpstreamError(
                f"cluster {target.name}: its certificate is not trusted: {error.verify_message}"
            ) from error
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise UpstreamError(f"cluster {target.name}: cannot connect: {reason}") from error
        sock = transport.get_extra_info("socket")
        if sock is not None:
            keep_alive(sock)
        return connection

    def release(self, target: Target, connection: UpstreamConnection) -> None:
        """Give a connection back; it is closed unless it can carry another call."""
        if connection.lost:
            return
        idle = self._idle.setdefault(target, [])
        if (
            connection.must_close
            or connection.closing
            or not connection.reusable
            or len(idle) >= self._settings.idle_connections
        ):
            connection.close()
            return
        connection.idle_since = self._clock.monotonic()
        idle.append(connection)

    def sweep(self) -> None:
        """Close what was idle too long; call about once a second.

        Servers drop idle connections at 90 s; ours go first, so a call never meets a closing one.
        """
        oldest = self._clock.monotonic() - self._settings.idle_timeout
        for target, idle in list(self._idle.items()):
            keep: list[UpstreamConnection] = []
            for connection in idle:
                if connection.closing:
                    continue
                if connection.idle_since < oldest:
                    connection.close()
                else:
                    keep.append(connection)
            if keep:
                self._idle[target] = keep
            else:
                del self._idle[target]

    async def settled(self, timeout: float) -> None:
        """Wait until no attempt to connect is under way, at most `timeout` seconds."""
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=timeout)

    def close(self) -> None:
        """Close every idle connection."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()


def _close_late(attempt: asyncio.Task[UpstreamConnection | UpstreamError]) -> None:
    """Nobody wants it any more."""
    if attempt.cancelled() or attempt.exception() is not None:
        return
    outcome = attempt.result()
    if isinstance(outcome, UpstreamConnection):
        outcome.close()


def _verified_name(target: Target) -> str | None:
    if target.tls is None:
        return None
    return target.server_hostname or target.host
