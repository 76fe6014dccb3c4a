"""aiohttp applications on sockets of ours: bound before anything is promised, TLS exchangeable."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from proxy.control.entry.reading import LINE_LIMIT
from proxy.errors import UnavailableError
from proxy.gateway.accepting import Accepting, Arrival, Failed
from proxy.settings import split_address
from proxy.tasks import cancel, spawn

_BACKLOG: Final = 128
_HANDSHAKE_SECONDS: Final = 10.0
_MOST_GREETING: Final = 256
"""Handshakes at once; who is silent holds one for its ten seconds."""


def bind(address: str, setting: str, *, shared: bool = False) -> socket.socket:
    """A socket bound to `host:port`, not listening yet.

    With `shared`, other processes may bind it too (SO_REUSEPORT), but only with this one's
    consent: an address that somebody listens on already is refused. Raises UnavailableError naming
    the `setting` to change.
    """
    host, port = split_address(address)
    try:
        if shared:
            _bound(host, port, shared=False).close()
        return _bound(host, port, shared=shared)
    except OSError as error:
        raise UnavailableError(
            f"Cannot listen on {address}: {error.strerror or error}.",
            hint=f"Choose another address with --{setting}, or stop what listens there.",
        ) from error


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def address_of(sock: socket.socket) -> str:
    """The address of a bound socket as `host:port`."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class WebListener:
    """One aiohttp application on one socket, with TLS or without."""

    def __init__(
        self,
        app: web.Application,
        sock: socket.socket,
        context: Callable[[], ssl.SSLContext] | None = None,
        failed: Failed | None = None,
    ) -> None:
        """With `context`, TLS; it is asked for each connection, so a new one counts from the next on."""
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=2.0,
            max_line_size=LINE_LIMIT,
        )
        self._socket = sock
        self._context = context
        self._failed = failed
        self._server: asyncio.Server | None = None
        self._accepting: Accepting | None = None
        self._accept: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """`host:port` it listens on."""
        return address_of(self._socket)

    async def start(self) -> None:
        """Begin to accept."""
        await self._runner.setup()
        handler = self._runner.server
        if handler is None:
            raise RuntimeError("the application is not set up")
        if self._context is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(handler, sock=self._socket)
            return
        self._socket.listen(_BACKLOG)
        self._accepting = Accepting(
            partial(_shake_hands, handler, self._context),
            seconds=_HANDSHAKE_SECONDS,
            room=lambda greeting: greeting < _MOST_GREETING,
            failed=self._tell,
        )
        self._accept = spawn(self._accepting.run(self._socket), name="web listener")

    async def stop(self) -> None:
        """Stop accepting, and close what is open after two seconds at most."""
        if self._server is not None:
            self._server.close()
        await cancel(self._accept)
        if self._accepting is not None:
            await self._accepting.stop()
        await self._runner.cleanup()
        self._socket.close()

    def _tell(self, source: str, reason: str, message: str) -> None:
        if self._failed is not None:
            self._failed(source, reason, message)


async def _shake_hands(
    handler: web.Server, context: Callable[[], ssl.SSLContext], arrival: Arrival
) -> None:
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(handler, arrival.socket, ssl=context())
