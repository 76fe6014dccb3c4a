"""A cluster as the data plane needs it: an address, how to trust it, and how to log in there."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

EXTRA_CREDENTIAL: Final = "kubewitness.io/credential"
"""Extra key that tells a cluster's own audit log which credential (serial) made a call."""
EXTRA_IMPERSONATOR: Final = "kubewitness.io/impersonator"
"""Extra key with the real user behind an allowed `--as`."""


def _no_authorization() -> bytes | None:
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Everything one forwarded call needs to know of its cluster.

    A changed cluster is a new Target; connections of the old one are not used for it.
    """

    name: str
    host: str
    """Name or address to connect to."""
    port: int
    base_path: bytes = b""
    """Path prefix of the API server, without a trailing slash; usually empty."""
    tls: ssl.SSLContext | None = None
    """Trust and client certificate; None means plain HTTP (loopback sandboxes only)."""
    server_hostname: str | None = None
    """Name to verify and send as SNI, when it is not `host`."""
    authorization: Callable[[], bytes | None] = _no_authorization
    """The current value of our own Authorization header there, e.g. `Bearer …`; never logged.
    Cheap: it returns what a background task keeps fresh."""
    unauthorized: Callable[[], None] = lambda: None
    """To be told that the cluster answered 401 to us: it looks for a newer credential."""
    certificate_ends: float | None = None
    """When our own client certificate there ends (seconds since the epoch), if nothing renews it."""
    refused: str = ""
    """Why calls must not be forwarded there now (excess permissions, unreadable credential)."""

    @property
    def host_header(self) -> bytes:
        """The Host header of requests to it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.tls is not None else 80
        return (host if self.port == default else f"{host}:{self.port}").encode()
