"""As much of PostgreSQL's wire protocol as it takes to see a COMMIT go by.

After the start-up messages, which have no type, every message of a client is a type byte, a length
that includes itself, and a body (PostgreSQL documentation, "Message Formats"). Only bodies of
queries are looked at; those of COPY pass through whatever their size.
"""

import struct
from collections.abc import Iterator
from typing import Final

_NO_SESSION: Final = frozenset({80877102, 80877103, 80877104})
"""Codes of CancelRequest, SSLRequest and GSSENCRequest: another start-up message may follow."""
_MOST: Final = 256
"""Bytes of a query that are kept: a COMMIT is short."""


class CommitFinder:
    """Splits what a client sends so that each COMMIT is a piece of its own."""

    def __init__(self) -> None:
        self._starting = True
        self._kept = b""
        self._passing = 0

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """The bytes to pass on, in order, and whether they are a COMMIT.

        The beginning of a message is held back until it can be told what it is.
        """
        data = self._kept + data
        self._kept = b""
        begin = at = 0
        while at < len(data):
            if self._passing:
                step = min(self._passing, len(data) - at)
                self._passing -= step
                at += step
                continue
            head = 8 if self._starting else 5
            if len(data) - at < head:
                break
            size = self._size(data, at)
            kind = b"" if self._starting else data[at : at + 1]
            if kind in (b"Q", b"P") and size <= _MOST:
                if len(data) - at < size:
                    break
                if _is_commit(kind, data[at + 5 : at + size]):
                    if at > begin:
                        yield data[begin:at], False
                    yield data[at : at + size], True
                    begin = at + size
                at += size
                continue
            self._starting = self._starting and self._code(data, at) in _NO_SESSION
            self._passing = size
        self._kept = data[at:]
        if at > begin:
            yield data[begin:at], False

    def _size(self, data: bytes, at: int) -> int:
        if self._starting:
            return int(struct.unpack_from("!I", data, at)[0])
        return 1 + int(struct.unpack_from("!I", data, at + 1)[0])

    def _code(self, data: bytes, at: int) -> int:
        return int(struct.unpack_from("!I", data, at + 4)[0])


def _is_commit(kind: bytes, body: bytes) -> bool:
    if kind == b"P":  # the name of the statement comes first
        body = body.partition(b"\0")[2]
    query = body.partition(b"\0")[0].strip().rstrip(b";").strip().upper()
    return query in (b"COMMIT", b"END", b"COMMIT TRANSACTION", b"COMMIT WORK")
