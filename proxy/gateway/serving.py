"""What a client connection needs from whoever serves its requests."""

import enum
from typing import TYPE_CHECKING, Protocol

from proxy.gateway.request import Request
from proxy.settings import Limits

if TYPE_CHECKING:
    from proxy.gateway.connection import ClientConnection


class Waiting(enum.Enum):
    """What a connection waits for from its client, which decides the deadline."""

    REQUEST = enum.auto()
    HEAD = enum.auto()
    NOTHING = enum.auto()
    """A call is being served; it may be silent for hours."""


class Server(Protocol):
    """Who serves the requests of a connection: the pipeline and the listener's bookkeeping."""

    limits: Limits

    async def serve(self, connection: "ClientConnection", request: Request) -> None:
        """Serve one request to its end; afterwards `connection.reusable` tells whether to go on."""

    async def unreadable(self, connection: "ClientConnection", why: str) -> None:
        """Record bytes that are no request and answer them."""

    def opened(self, connection: "ClientConnection") -> None:
        """The handshake is done and the certificate read."""

    def closed(self, connection: "ClientConnection") -> None:
        """Forget the connection."""
