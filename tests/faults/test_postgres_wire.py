import struct

import pytest

from tests.faults.postgres_wire import CommitFinder


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


STARTUP = struct.pack("!II", 8, 80877103) + struct.pack("!II", 14, 196608) + b"user\0\0"
BEGIN = message(b"Q", b"BEGIN;\0")
COMMIT = message(b"Q", b"COMMIT;\0")
PARSED = message(b"P", b"name\0commit\0\0\0")
DATA = message(b"d", b"COMMIT;\0" * 10_000)
TALK = [STARTUP, BEGIN, DATA, COMMIT, BEGIN, PARSED, message(b"X", b"")]


@pytest.mark.parametrize("size", [1, 3, 7, 1000, 1_000_000])
def test_commits_are_found_wherever_the_stream_is_cut(size: int) -> None:
    stream = b"".join(TALK)
    finder = CommitFinder()
    pieces = [
        piece
        for start in range(0, len(stream), size)
        for piece in finder.feed(stream[start : start + size])
    ]
    assert b"".join(data for data, _ in pieces) == stream
    assert [data for data, is_commit in pieces if is_commit] == [COMMIT, PARSED]
    before = b"".join(data for data, _ in pieces[: [found for _, found in pieces].index(True)])
    assert before == STARTUP + BEGIN + DATA


@pytest.mark.parametrize("query", [b"COMMIT AND CHAIN\0", b"SELECT 'COMMIT'\0", b"\0"])
def test_what_only_looks_like_one_is_none(query: bytes) -> None:
    finder = CommitFinder()
    found = list(finder.feed(STARTUP + message(b"Q", query)))
    assert not any(is_commit for _, is_commit in found)
