"""Ports for servers that are told where to listen."""

import socket
import subprocess
import sys
from pathlib import Path

from tests.ports import reserved_ports


def test_ports_differ_and_no_outgoing_connection_is_given_one() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    ports = [port for _ in range(20) for port in reserved_ports(3)]

    assert len(set(ports)) == 60
    assert max(ports) < lowest


def test_another_process_is_not_given_a_port_that_this_one_has() -> None:
    mine = set(reserved_ports(2_000))

    program = "from tests.ports import reserved_ports; print(*reserved_ports(2000))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert mine.isdisjoint(int(port) for port in done.stdout.split())


def test_a_port_on_which_somebody_listens_is_passed_over() -> None:
    (port,) = reserved_ports()
    with socket.create_server(("127.0.0.1", port)):
        assert port not in reserved_ports(1_000)
