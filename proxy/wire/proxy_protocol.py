"""The PROXY protocol, version 2: a load balancer says whom it speaks for.

Source: haproxy `doc/proxy-protocol.txt` §2.2. Only the address is read; TLVs are skipped.
"""

import ipaddress
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED: Final = 16
"""Bytes before the addresses: signature, version and command, family, length."""
MAX_PAYLOAD: Final = 4096
"""Longest address and TLV part we read; balancers send a few hundred bytes at most."""

_LOCAL: Final = 0
_PROXY: Final = 1
_TCP4: Final = 0x11
_TCP6: Final = 0x21


class InvalidProxyHeader(ValueError):  # noqa: N818  # an outcome of parsing, named like its siblings
    """The bytes are not a PROXY v2 header we accept; the text says why."""


class Source(NamedTuple):
    """Where a connection came from."""

    address: str
    port: int


def payload_length(fixed: bytes) -> int:
    """Bytes that follow the fixed part. Raises InvalidProxyHeader."""
    if len(fixed) != FIXED or not fixed.startswith(SIGNATURE):
        raise InvalidProxyHeader("no PROXY v2 signature")
    if fixed[12] >> 4 != 2:
        raise InvalidProxyHeader(f"PROXY version {fixed[12] >> 4} is not 2")
    length = int.from_bytes(fixed[14:16])
    if length > MAX_PAYLOAD:
        raise InvalidProxyHeader(f"PROXY header of {length} bytes is over {MAX_PAYLOAD}")
    return length


def source(fixed: bytes, payload: bytes) -> Source | None:
    """The address the balancer speaks for; None for its own connections (health checks).

    Raises InvalidProxyHeader.
    """
    command = fixed[12] & 0x0F
    if command == _LOCAL:
        return None
    if command != _PROXY:
        raise InvalidProxyHeader(f"PROXY command {command} is unknown")
    family = fixed[13]
    size = {_TCP4: 4, _TCP6: 16}.get(family)
    if size is None:
        raise InvalidProxyHeader(f"PROXY family 0x{family:02x} is not TCP over IPv4 or IPv6")
    if len(payload) < 2 * size + 4:
        raise InvalidProxyHeader("PROXY header ends before its addresses do")
    address = ipaddress.ip_address(payload[:size])
    return Source(str(address), int.from_bytes(payload[2 * size : 2 * size + 2]))
