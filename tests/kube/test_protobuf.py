"""The envelope and the fields of Kubernetes protobuf."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.kube.protobuf import MAGIC, Envelope, Malformed, envelope, fields, raw, text

POD = MAGIC + b"\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x03\x0a\x01x\x1a\x00\x22\x00"


def test_an_envelope_says_what_is_in_it() -> None:
    assert envelope(POD) == Envelope("v1", "Pod", b"\x0a\x01x")


def test_every_wire_type_is_read() -> None:
    data = b"\x08\x96\x01" + b"\x11" + b"8" * 8 + b"\x1a\x02ab" + b"\x25" + b"4" * 4
    assert list(fields(data)) == [(1, 150), (2, b"8" * 8), (3, b"ab"), (4, b"4444")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"kind":"Pod"}',
        POD[:-1],
        MAGIC + b"\x0a\x05\x0a",
        MAGIC + b"\x0b",
        MAGIC + b"\x08",
        MAGIC + b"\x08" + b"\xff" * 11,
        MAGIC + b"\x08\x01",
        MAGIC + b"\x0a\x03\x0a\x01\xff",
    ],
)
def test_what_is_malformed_says_so(body: bytes) -> None:
    with pytest.raises(Malformed):
        envelope(body)


def test_a_number_is_no_text() -> None:
    with pytest.raises(Malformed):
        raw(1)
    with pytest.raises(Malformed):
        text(b"\xff")


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_else(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        envelope(MAGIC + data)
