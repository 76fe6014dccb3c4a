"""Telling systemd how far we are (`Type=notify`); nothing happens elsewhere."""

import socket
from typing import Final

import structlog

from proxy.environment import variable

_log = structlog.get_logger(__name__)


_MORE: Final = 30_000_000
"""µs that a start may take from each sign of life on."""


def notify_waiting(cause: str) -> None:
    """Tell the service manager that the start goes on, and what it waits for."""
    notify(f"EXTEND_TIMEOUT_USEC={_MORE}\nSTATUS={' '.join(cause.split())}")


def notify(state: str) -> None:
    """Send `state` (sd_notify(3): `READY=1`, `STOPPING=1`) to the service manager, if there is one."""
    address = variable("NOTIFY_SOCKET")
    if not address.startswith(("/", "@")):
        return
    # A name that begins with @ is in the abstract namespace, where it begins with NUL.
    target = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(state.encode(), target)
    except OSError as error:
        _log.warning("service manager not reached", state=state, error=str(error))
