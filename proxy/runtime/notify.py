"""Telling systemd how far we are (`Type=notify`); nothing happens elsewhere."""

import socket

import structlog

from proxy.environment import variable

_log = structlog.get_logger(__name__)


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
