"""Answers to the client: heads written anew, bodies framed by us."""

from http import HTTPStatus
from typing import Final

_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus
}
_join: Final = b": ".join

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n"

Headers = list[tuple[bytes, bytes]]


def head(status: int, headers: Headers, *more: tuple[bytes, bytes]) -> bytes:
    """The head of an HTTP/1.1 response. Values came through llhttp or are ours: no CR, LF, NUL."""
    lines = [_LINES.get(status) or b"HTTP/1.1 %d Unknown" % status]
    lines += map(_join, headers)
    lines += map(_join, more)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112 §7.1); `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Headers) -> bytes:
    """The end of a chunked body, with its trailers."""
    return b"".join([LAST_CHUNK, *(b"%b: %b\r\n" % trailer for trailer in trailers), b"\r\n"])


def without_framing(headers: Headers) -> Headers:
    """Headers without Content-Length, for bodies that we frame ourselves."""
    return [
        header
        for header in headers
        if len(header[0]) != 14 or header[0].lower() != b"content-length"
    ]


def content_length(headers: Headers) -> int | None:
    """The announced length; llhttp has refused contradicting and malformed ones."""
    for name, value in headers:
        if len(name) == 14 and name.lower() == b"content-length":
            return int(value)
    return None
