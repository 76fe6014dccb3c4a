"""The format: what is framed is read back, and nothing that is incomplete or altered is."""

import hashlib
import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.event import new_id
from proxy.audit.journal.records import (
    GENESIS,
    Batch,
    CorruptJournalError,
    Header,
    Seal,
    SegmentName,
    Trailer,
    digest,
    frame,
    intact,
    intact_after,
    last_trailer,
    line,
    parse_name,
    read_batch,
    read_header,
    read_seal,
    record_lines,
    sealed,
    segments,
)

HEADER = Header(
    version=1,
    writer="ab12cd34-0",
    epoch=1,
    segment=1,
    first_seq=1,
    prev=GENESIS,
    opened_at="2027-01-15T08:00:00.000000Z",
)


def salts(count: int) -> bytes:
    return os.urandom(16 * count).hex().encode()


def framed(*sizes: int) -> list[Batch]:
    """Batches of that many records each, one after the other."""
    made: list[Batch] = []
    first, prev = 1, GENESIS
    for size in sizes:
        bodies = [b'"note":"%d"' % n for n in range(size)]
        made.append(frame(bodies, salts(size), first, prev))
        first, prev = made[-1].last + 1, made[-1].sha256
    return made


def batches(data: bytes, position: int) -> list[Trailer]:
    """The intact batches from `position` on."""
    found = []
    while (batch := read_batch(data, position)) is not None and intact(data, batch):
        found.append(batch.trailer)
        position = batch.next
    return found


def test_the_trailer_by_hand_is_the_trailer_as_encoded() -> None:
    for batch in framed(1, 3, 100):
        read = read_batch(batch.data, 0)
        assert read is not None
        assert batch.data[read.end :] == line(read.trailer)
        assert read.trailer.sha256 == batch.sha256


def test_the_checksum_is_the_documented_one() -> None:
    first, second = framed(2, 3)
    read = read_batch(second.data, 0)
    assert read is not None
    records = second.data[: read.end]
    assert hashlib.sha256(first.sha256.encode() + records).hexdigest() == second.sha256
    assert digest(first.sha256, records) == second.sha256


@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(codec="utf-8"), min_size=1),
            st.text(st.characters(codec="utf-8")) | st.integers(),
            min_size=1,
            max_size=3,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_hostile_text_comes_back_whole(values: list[dict[str, object]]) -> None:
    values = [{f"k{key}": value for key, value in item.items()} for item in values]
    bodies = [json.dumps(value).encode()[1:-1] for value in values]
    batch = frame(bodies, salts(len(bodies)), 5, GENESIS)
    found = read_batch(batch.data, 0)
    assert found is not None
    assert intact(batch.data, found)
    assert batch.data.count(b"\n") == len(bodies) + 1
    for (seq, record), value in zip(record_lines(batch.data, found), values, strict=True):
        document = json.loads(record)
        assert document.pop("seq") == seq
        assert re.fullmatch("[0-9a-f]{32}", document.pop("salt"))
        assert document == value


@pytest.mark.parametrize("rest", [b"", b"\0" * 100], ids=["end", "preallocated"])
def test_cut_at_every_byte_only_whole_batches_remain(rest: bytes) -> None:
    made = framed(1, 3, 2)
    data = b"".join(batch.data for batch in made)
    ends = [sum(len(b.data) for b in made[: n + 1]) for n in range(len(made))]
    for cut in range(len(data) + 1):
        whole = sum(1 for end in ends if end <= cut)
        assert len(batches(data[:cut] + rest, 0)) == whole


def test_any_changed_byte_of_a_batch_is_noticed() -> None:
    first, second, third = framed(2, 2, 1)
    data = first.data + second.data + third.data
    start, end = len(first.data), len(first.data) + len(second.data)
    for at in range(start, end):
        for flip in (0x01, 0x80, data[at]):
            spoilt = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            assert [t.last for t in batches(spoilt, 0)] == [2]
            assert intact_after(spoilt, start) == 5


def test_a_torn_last_batch_has_nothing_intact_after_it() -> None:
    first, second = framed(2, 2)
    data = first.data + second.data
    for cut in range(len(first.data), len(data)):
        assert intact_after(data[:cut] + b"\0" * 50, len(first.data)) is None


def test_seals() -> None:
    (batch,) = framed(2)
    seal = Seal(2, batch.sha256, "2027-01-15T08:00:00.000000Z")
    data = batch.data + line(seal)
    assert read_seal(data, len(batch.data)) == seal
    assert sealed(data)
    assert intact_after(data, 3) == 2
    for cut in range(len(batch.data), len(data)):
        assert not sealed(data[:cut])
        assert read_seal(data[:cut], len(batch.data)) is None
    assert not sealed(data + b"\0")


def test_headers() -> None:
    data = line(HEADER)
    assert read_header(data + b"more") == (HEADER, len(data))
    for cut in range(len(data)):
        assert read_header(data[:cut]) is None
        assert read_header(data[:cut] + b"\0" * 100) is None


@pytest.mark.parametrize(
    "data",
    [b"hello\n", b"{}\n", b'{"kind":"Batch"}\n', line(HEADER).replace(b'n":1', b'n":2', 1)],
    ids=["text", "object", "another", "version"],
)
def test_a_first_line_that_is_no_header_of_ours(data: bytes) -> None:
    with pytest.raises(CorruptJournalError):
        read_header(data)


def test_names() -> None:
    assert str(SegmentName(1, 12)) == "000001-000012.jsonl"
    assert parse_name("000001-000012.jsonl") == SegmentName(1, 12)
    assert parse_name("1000000-000001.jsonl") == SegmentName(1_000_000, 1)
    for other in ("lock", "000001-000001.jsonl.gz", "1-1.jsonl", "000001-000001", new_id(0)):
        assert parse_name(other) is None
    found = segments(["1000000-000001.jsonl", "000002-000001.jsonl", "lock", "000001-000009.jsonl"])
    assert [name.epoch for name in found] == [1, 2, 1_000_000]


def test_the_last_trailer_is_found_from_the_end() -> None:
    first, second = framed(2, 3)
    data = first.data + second.data
    assert last_trailer(data) is not None
    for cut in range(len(first.data), len(data)):
        found = last_trailer(data[7:cut])
        assert found is not None
        assert found.last == 2
    assert last_trailer(b"nothing") is None
