"""Ports for servers that are told where to listen, and that come back there after a kill.

A port that the system hands out (bind to 0, look, close) may be gone before the server has it:
every connection that leaves takes one of the same range for its own end, and load makes thousands.
These ports lie below that range, so nobody is given them who did not ask, and each is kept for as
long as the process that reserved it lives.
"""

import random
import socket
from pathlib import Path

_LOWEST = 10_240
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_kept: list[socket.socket] = []


def reserved_ports(count: int = 1) -> list[int]:
    """`count` different ports of loopback that nobody listens on, this process's until it ends.

    Raises RuntimeError when there are not so many.
    """
    candidates = list(range(_LOWEST, int(_EPHEMERAL.read_text().split()[0])))
    random.shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            return found
        if _reserve(port):
            found.append(port)
    raise RuntimeError(f"{len(found)} of {count} ports are free below those of {_EPHEMERAL}")


def _reserve(port: int) -> bool:
    # An abstract name has the scope of a port, one network namespace, and goes with its process.
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0kubewitness-tests-port-{port}")
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        name.close()
        return False
    _kept.append(name)
    return True
