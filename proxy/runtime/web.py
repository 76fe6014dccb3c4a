"""aiohttp applications on sockets of ours: bound before anything is promised, TLS exchangeable."""

import asyncio
import socket
import ssl
from collections.abc import Callable

from aiohttp import web

from proxy.control.reading import LINE_LIMIT
from proxy.errors import UnavailableError
from proxy.settings import split_address


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
    ) -> None:
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=2.0,
            max_line_size=LINE_LIMIT,
        )
        self._socket = sock
        self._context = context
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """`host:port` it listens on."""
        return address_of(self._socket)

    async def start(self) -> None:
        """Begin to accept."""
        await self._runner.setup()
        self._server = await self._listen()

    async def renew(self) -> None:
        """Use the current TLS context for connections from now on; open ones go on."""
        if self._server is None or self._context is None:
            return
        old, self._server = self._server, await self._listen()
        old.close()

    async def stop(self) -> None:
        """Stop accepting, and close what is open after two seconds at most."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()
        self._socket.close()

    async def _listen(self) -> asyncio.Server:
        handler = self._runner.server
        if handler is None:
            raise RuntimeError("the application is not set up")
        # A duplicate, so that closing this server leaves the address bound for the next.
        return await asyncio.get_running_loop().create_server(
            handler,
            sock=self._socket.dup(),
            ssl=self._context() if self._context is not None else None,
        )
