"""The protobuf form of Kubernetes objects, as far as it says what it is: an envelope and fields.

Typed clients, and with them `kubectl create` and `kubectl auth`, send
`application/vnd.kubernetes.protobuf`: four magic bytes, then a `runtime.Unknown` that holds the type
and the raw object (k8s.io/apimachinery, `pkg/runtime/serializer/protobuf`). Which field means what
is for the reader to know.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

MAGIC: Final = b"k8s\x00"
_LONGEST: Final = 10
"""Bytes of a varint of 64 bits."""


class Malformed(ValueError):  # noqa: N818 - reads as what it is, where it is caught
    """Bytes that are not the protobuf form of an object."""


class Envelope(NamedTuple):
    """What a `runtime.Unknown` says."""

    api_version: str
    kind: str
    raw: bytes
    """The object itself."""


def envelope(body: bytes) -> Envelope:
    """The type and the raw object in a body. Raises Malformed."""
    if not body.startswith(MAGIC):
        raise Malformed("the first four bytes are not those of Kubernetes protobuf")
    outer = dict(fields(body[len(MAGIC) :]))
    kind = {number: text(value) for number, value in fields(raw(outer.get(1, b"")))}
    return Envelope(kind.get(1, ""), kind.get(2, ""), raw(outer.get(2, b"")))


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message, in order. Raises Malformed, also half-way."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
                continue
            case 2:
                length, at = _varint(data, at)
            case 1:
                length = 8
            case 5:
                length = 4
            case _:
                raise Malformed("unknown wire type")
        if at + length > len(data):
            raise Malformed("cut short")
        yield tag >> 3, data[at : at + length]
        at += length


def raw(value: int | bytes) -> bytes:
    """A field that is text, bytes or a message. Raises Malformed for a number."""
    if isinstance(value, int):
        raise Malformed("a number where bytes belong")
    return value


def text(value: int | bytes) -> str:
    """A field that is text. Raises Malformed."""
    try:
        return raw(value).decode()
    except UnicodeDecodeError:
        raise Malformed("text that is not UTF-8") from None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_LONGEST):
        if at + shift >= len(data):
            raise Malformed("cut short")
        byte = data[at + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    raise Malformed("a number of more than 64 bits")
