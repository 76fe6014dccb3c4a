"""The journal's format: how records stand in segment files, and how they are read back.

Pure: bytes in, bytes out, no I/O. A segment is JSON Lines:

    {"kind":"JournalHeader","version":1,"writer":…,"epoch":…,"segment":…,"firstSeq":…,…}
    {"seq":1,"salt":"…",<body>}
    {"seq":2,"salt":"…",<body>}
    {"kind":"Batch","first":1,"last":2,"count":2,"bytes":…,"prev":"…","sha256":"…"}
    …
    {"kind":"JournalSeal","seq":2,"sha256":"…","closedAt":"…"}

followed by the zeros of the preallocation. A batch counts only with its trailer; the trailer's
`sha256` is over the previous trailer's value (64 hex characters; zeros before the first) and the
exact bytes of the batch's record lines. A seal says that the writer closed in good order.

A segment may begin with records that its predecessor holds too: after a failed sync the batch is
written again, byte for byte, to a new segment. A header's `firstSeq` therefore overrules whatever
the segment before it holds from that sequence on. A header with `replaces` says more: the segment
holds all records of the segment of that number, whose name now belongs to somebody else's file.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from proxy.errors import KubewitnessError

VERSION: Final = 1
SALT_BYTES: Final = 16
GENESIS: Final = "0" * 64
"""`prev` of a writer's first batch."""

_NAME = re.compile(r"(\d{6,})-(\d{6,})\.jsonl")
_HEADER: Final = b'{"kind":"JournalHeader",'
_TRAILER: Final = b'\n{"kind":"Batch",'
_SEAL: Final = b'{"kind":"JournalSeal",'
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)
"""What decoding a line that is not ours can raise."""
# Longest header or trailer line we write, several times over; bounds a search through garbage.
_LINE_LIMIT: Final = 4096


class CorruptJournalError(KubewitnessError):
    """A journal holds something its writer cannot have left there, not even by dying."""


class SegmentName(NamedTuple):
    """The place of a segment among its writer's: epochs count starts, numbers count files."""

    epoch: int
    number: int

    def __str__(self) -> str:
        return f"{self.epoch:06}-{self.number:06}.jsonl"


class Header(
    msgspec.Struct,
    frozen=True,
    rename="camel",
    omit_defaults=True,
    tag_field="kind",
    tag="JournalHeader",
):
    """The first line of a segment."""

    version: int
    writer: str
    epoch: int
    segment: int
    first_seq: int
    prev: str
    opened_at: str
    replaces: int = 0
    """Number of the segment whose records this one holds, because another file took its place."""


class Trailer(msgspec.Struct, frozen=True, tag_field="kind", tag="Batch"):
    """The line that completes a batch."""

    first: int
    last: int
    count: int
    bytes: int
    prev: str
    sha256: str


class Seal(msgspec.Struct, frozen=True, rename="camel", tag_field="kind", tag="JournalSeal"):
    """The line that ends a writer's epoch in good order."""

    seq: int
    sha256: str
    closed_at: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Framed records, ready to be written; the same bytes again when they must be rewritten."""

    first: int
    last: int
    data: bytes
    prev: str
    sha256: str


class Found(NamedTuple):
    """A complete batch in the bytes of a segment: records from `start` to `end`."""

    trailer: Trailer
    start: int
    end: int
    next: int
    """Where the line after the trailer begins."""


_encode = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_trailer = msgspec.json.Decoder(Trailer).decode
_decode_seal = msgspec.json.Decoder(Seal).decode


def parse_name(name: str) -> SegmentName | None:
    """The segment a file name stands for, or None when it is not a segment's."""
    match = _NAME.fullmatch(name)
    return SegmentName(int(match[1]), int(match[2])) if match else None


def segments(names: Sequence[str]) -> list[SegmentName]:
    """The segments among `names`, in the order they were written."""
    return sorted(found for name in names if (found := parse_name(name)) is not None)


def line(value: Header | Trailer | Seal) -> bytes:
    """One line that is not a record."""
    return _encode(value) + b"\n"


def digest(prev: str, records: bytes | memoryview) -> str:
    """The chained checksum of a batch's record lines."""
    state = hashlib.sha256(prev.encode())
    state.update(records)
    return state.hexdigest()


def frame(bodies: Sequence[bytes], salts: bytes, first: int, prev: str) -> Batch:
    """Make the lines of one batch. `salts` is hex, 32 characters for each of `bodies`."""
    width = 2 * SALT_BYTES
    records = b"".join(
        [
            b'{"seq":%d,"salt":"%b",%b}\n' % (first + i, salts[i * width : i * width + width], body)
            for i, body in enumerate(bodies)
        ]
    )
    sha256 = digest(prev, records)
    count = len(bodies)
    last = first + count - 1
    # By hand because this is the hot path; the tests hold it equal to line(Trailer(...)).
    trailer = (
        f'{{"kind":"Batch","first":{first},"last":{last},"count":{count},'
        f'"bytes":{len(records)},"prev":"{prev}","sha256":"{sha256}"}}\n'
    )
    return Batch(first, last, records + trailer.encode(), prev, sha256)


def read_header(data: bytes) -> tuple[Header, int] | None:
    """The header and where the next line begins; None when it was never completely written.

    Raises CorruptJournalError when the line is complete and is not a header we can read.
    """
    end = data.find(b"\n", 0, _LINE_LIMIT)
    if end < 0 or b"\0" in data[:end]:
        return None
    try:
        header = _decode_header(data[:end])
    except UNREADABLE as error:
        raise CorruptJournalError(f"the first line is not a journal header: {error}") from error
    if header.version != VERSION:
        raise CorruptJournalError(
            f"journal format {header.version} is not ours ({VERSION})",
            hint="It was written by another release; start that one.",
        )
    return header, end + 1


def read_batch(data: bytes, position: int) -> Found | None:
    """The batch that begins at `position`; None when there is none, or not a whole one.

    The checksum is not looked at; see `intact`.
    """
    if position >= len(data) or data[position] == 0:
        return None
    found = _trailer_at(data, data.find(_TRAILER, position))
    return found if found is not None and found.start == position else None


def intact(data: bytes, found: Found) -> bool:
    """Whether the batch's bytes are those its trailer was made for."""
    records = memoryview(data)[found.start : found.end]
    return digest(found.trailer.prev, records) == found.trailer.sha256


def sound(data: bytes, position: int) -> int:
    """Where the intact batches from `position` on end."""
    while (found := read_batch(data, position)) is not None and intact(data, found):
        position = found.next
    return position


def read_seal(data: bytes, position: int) -> Seal | None:
    """The seal at `position`, if there is one."""
    if not data.startswith(_SEAL, position):
        return None
    end = data.find(b"\n", position, position + _LINE_LIMIT)
    if end < 0:
        return None
    try:
        return _decode_seal(data[position:end])
    except UNREADABLE:
        return None


def sealed(data: bytes) -> bool:
    """Whether the segment ends with a seal, and so its writer's epoch does."""
    at = data.rfind(b"\n", 0, len(data) - 1)
    return at >= 0 and read_seal(data, at + 1) is not None


def intact_after(data: bytes, position: int) -> int | None:
    """The sequence an intact batch or a seal ends with somewhere after `position`, or None.

    A writer begins a batch only when the one before it is durable, so something whole after
    something broken means damage and not a torn tail.
    """
    at = position
    while (at := data.find(_TRAILER, at)) >= 0:
        found = _trailer_at(data, at)
        if found is not None and found.start > position and intact(data, found):
            return found.trailer.last
        at += 1
    at = data.find(b"\n" + _SEAL, max(position - 1, 0))
    seal = read_seal(data, at + 1) if at >= 0 else None
    return seal.seq if seal is not None else None


def last_trailer(data: bytes) -> Trailer | None:
    """The last trailer that is complete in `data`, whatever stands around it."""
    at = len(data)
    while (at := data.rfind(_TRAILER, 0, at)) >= 0:
        stop = data.find(b"\n", at + 1)
        if stop >= 0:
            trailer = decode_trailer(data[at + 1 : stop])
            if trailer is not None:
                return trailer
    return None


def last_batch(data: bytes) -> Found | None:
    """The batch with the last complete trailer in `data`, whole or not."""
    return _trailer_at(data, data.rfind(_TRAILER, 0, data.rfind(b"\n")))


def decode_trailer(data: bytes) -> Trailer | None:
    """The trailer in a line without its newline; None when it is something else."""
    try:
        return _decode_trailer(data)
    except UNREADABLE:
        return None


def record_lines(data: bytes, found: Found) -> Iterator[tuple[int, bytes]]:
    """(sequence, line without its newline) for each record of a batch."""
    lines = data[found.start : found.end].split(b"\n")[:-1]
    return zip(range(found.trailer.first, found.trailer.last + 1), lines, strict=True)


def _trailer_at(data: bytes, newline: int) -> Found | None:
    """The batch whose trailer follows the newline at `newline`."""
    if newline < 0:
        return None
    stop = data.find(b"\n", newline + 1, newline + _LINE_LIMIT)
    if stop < 0:
        return None
    trailer = decode_trailer(data[newline + 1 : stop])
    if trailer is None:
        return None
    end = newline + 1
    count = trailer.last - trailer.first + 1
    if trailer.bytes <= 0 or trailer.bytes > end or trailer.count != count or count < 1:
        return None
    return Found(trailer, end - trailer.bytes, end, stop + 1)
