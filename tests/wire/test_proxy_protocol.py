"""PROXY protocol v2 headers: vectors in the form of its specification, cut and altered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.proxy_protocol import (
    FIXED,
    MAX_PAYLOAD,
    SIGNATURE,
    InvalidProxyHeader,
    Source,
    payload_length,
    source,
)

V4 = bytes((203, 0, 113, 7, 127, 0, 0, 1)) + b"\x30\x39\x20\xfb"
V6 = bytes.fromhex("20010db8" + "0" * 23 + "7") * 2 + b"\x30\x39\x20\xfb"


def fixed(command: int, family: int, length: int) -> bytes:
    return SIGNATURE + bytes((command, family)) + length.to_bytes(2)


@pytest.mark.parametrize(
    ("command", "family", "payload", "found"),
    [
        (0x21, 0x11, V4, Source("203.0.113.7", 12345)),
        (0x21, 0x11, V4 + b"\x04\x00\x01x", Source("203.0.113.7", 12345)),
        (0x21, 0x21, V6, Source("2001:db8::7", 12345)),
        (0x20, 0x00, b"", None),
        (0x20, 0x11, V4, None),
    ],
)
def test_addresses(command: int, family: int, payload: bytes, found: Source | None) -> None:
    head = fixed(command, family, len(payload))
    assert payload_length(head) == len(payload)
    assert source(head, payload) == found


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"", "signature"),
        (b"PROXY TCP4 1.2.3.4", "signature"),
        (SIGNATURE, "signature"),
        (fixed(0x11, 0x11, 12), "version 1"),
        (fixed(0x31, 0x11, 12), "version 3"),
        (fixed(0x21, 0x11, MAX_PAYLOAD + 1), "is over"),
    ],
)
def test_headers_that_are_refused(head: bytes, why: str) -> None:
    with pytest.raises(InvalidProxyHeader, match=why):
        payload_length(head)


@pytest.mark.parametrize(
    ("command", "family", "payload", "why"),
    [
        (0x22, 0x11, V4, "command 2"),
        (0x21, 0x00, V4, "family 0x00"),
        (0x21, 0x12, V4, "family 0x12"),
        (0x21, 0x31, V4, "family 0x31"),
        (0x21, 0x11, V4[:-1], "ends before"),
        (0x21, 0x21, V6[:-1], "ends before"),
    ],
)
def test_payloads_that_are_refused(command: int, family: int, payload: bytes, why: str) -> None:
    with pytest.raises(InvalidProxyHeader, match=why):
        source(fixed(command, family, len(payload)), payload)


@given(st.binary(max_size=FIXED + 8), st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(head: bytes, payload: bytes) -> None:
    try:
        payload_length(head)
        source(head, payload)
    except InvalidProxyHeader:
        return
    assert head.startswith(SIGNATURE)
