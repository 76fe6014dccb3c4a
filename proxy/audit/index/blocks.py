"""Blocks: what stands where in a stretch of one journal, so that a search knows where to look.

A block is 16,384 sequences of one writer. For every value that a filter can ask for it holds the
*places* (sequence minus the block's first) of the finished events that have it, as a bitmap; two
filters together are an AND of bitmaps, however many events have either. A block is made once, when
its last event is in, and never changes: filling an index only ever appends.

Places say where a filter *may* find something; what is there is compared with the filter itself.
So values may be cut short, and pieces of free text may share a slot.
"""

import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import chain
from operator import itemgetter
from typing import Any, Final, NamedTuple

from proxy.audit.index.grams import Texts, pack, slices, slots_of
from proxy.audit.index.query import SEARCHED
from proxy.audit.index.rows import Row

BLOCK: Final = 16_384
"""Sequences of a block."""
RUN: Final = 256
"""Places of a run: the grain in which times and pieces of text are known."""
RUNS: Final = BLOCK // RUN
BITMAP: Final = BLOCK // 8
"""Bytes of a bitmap."""
EVERYWHERE: Final = (1 << BLOCK) - 1
"""All places of a block, as bits."""
VALUE: Final = 256
"""Bytes of a value that count."""
_HIGHEST_CODE: Final = 999
_FEW: Final = 32
"""Places up to which a list of them is the shorter form, and read faster."""
_WORTH_IT: Final = BITMAP // 8
IPV4: Final = "0" * 20 + "f" * 4
"""How IPv4 addresses begin, mapped into IPv6 (RFC 4291, 2.5.5.2)."""
_IPV4_DIGITS: Final = 28
_IPV6_DIGITS: Final = 12
_LIST: Final = b"L"
_PACKED: Final = b"Z"
_PLAIN: Final = b"B"
_FAST: Final = 1
_TIMES: Final = struct.Struct(f"<{RUNS}q{RUNS}q")


class Field(IntEnum):
    """What postings are about. The numbers are stored."""

    NOISE = 0
    USER = 1
    GROUP = 2
    CLUSTER = 3
    NAMESPACE = 4
    NAME = 5
    VERB = 6
    CLASS = 7
    CODE = 8
    RESOURCE = 9
    """`pods`, and beside it `pods/exec` and `deployments.apps` where there is more to say."""
    SOURCE = 10
    TOOL = 11
    COMMAND = 12
    SESSION = 13
    KIND = 14
    PIECES = 15
    """Slices of `proxy.audit.index.grams`; no places."""
    NETWORK = 16
    """Of a source address, see `network_of`: a network's addresses are too many to look at each."""
    SUSPICIOUS = 17
    """Each flag of an event."""
    CREDENTIAL = 18
    REASON = 19
    ACTION = 20
    TARGET = 21


PLAIN: Final = {
    "username": Field.USER,
    "cluster": Field.CLUSTER,
    "namespace": Field.NAMESPACE,
    "name": Field.NAME,
    "verb": Field.VERB,
    "call_class": Field.CLASS,
    "source_key": Field.SOURCE,
    "tool": Field.TOOL,
    "command": Field.COMMAND,
    "session": Field.SESSION,
    "kind": Field.KIND,
    "credential": Field.CREDENTIAL,
    "reason": Field.REASON,
    "action": Field.ACTION,
    "target": Field.TARGET,
}
"""Columns whose values are posted as they are, an empty one, too."""
LATER: Final = frozenset({Field.CREDENTIAL, Field.REASON, Field.ACTION, Field.TARGET})
"""What older blocks do not have, in an index that is not made anew for it (PostgreSQL's). Every newer
block has each of them, as each event has a value."""


class Posting(NamedTuple):
    """Where one value stands in a block."""

    field: int
    value: bytes
    bits: bytes
    """Places, see `encode`. Of PIECES a slice."""


class Block(NamedTuple):
    """A finished block."""

    writer: str
    first: int
    """Sequence of place 0; the marker of a new writer has none and a `first` of -BLOCK."""
    oldest: int
    """Of its finished events, µs since the epoch; 0 when there are none."""
    newest: int
    runs: bytes
    """See `run_times`."""
    postings: list[Posting]
    texts: list[tuple[int, bytes]]
    """(run, packed texts) for each run that has events; see `grams.pack`."""


def marker(writer: str) -> Block:
    """What says that there is such a writer, before its first block is full."""
    return Block(writer, -BLOCK, 0, 0, b"", [], [])


def posted(value: str) -> bytes:
    """A value as postings have it."""
    return value.encode("utf-8", "surrogatepass")[:VALUE]


def posted_code(code: int) -> bytes:
    """A status as postings have it: three digits sort as numbers do."""
    return b"%03d" % code


def network_of(key: str) -> str:
    """The first digits of an address (see `rows.source_key`): an IPv4 /16, an IPv6 /48."""
    return key[:_IPV4_DIGITS] if key.startswith(IPV4) else key[:_IPV6_DIGITS]


class BlockBuilder:
    """Collects one writer's rows until they fill a block.

    `first` is where the block begins that is not full yet.
    """

    def __init__(self, writer: str, first: int) -> None:
        self.writer = writer
        self.first = first
        self.following = first
        """The sequence behind the last one taken."""
        self._kept: list[tuple[Any, ...]] = []

    def add(self, rows: Sequence[Row]) -> list[Block]:
        """Take rows in order of their sequence; what was told before is passed over.

        Returns the blocks that are full now.
        """
        full: list[Block] = []
        for row in rows:
            if row.seq < self.following:
                continue
            if row.seq >= self.first + BLOCK:
                full.append(self._cut(row.seq))
            self.following = row.seq + 1
            if row.terminal:
                self._kept.append(_keep(row))
        if self.following == self.first + BLOCK:
            full.append(self._cut(self.following))
        return full

    def back(self, following: int) -> None:
        """Forget the rows from a sequence of this block on."""
        while self._kept and self._kept[-1][_SEQ] >= following:
            self._kept.pop()
        self.following = following

    def _cut(self, following: int) -> Block:
        made = _build(self.writer, self.first, self._kept)
        self.first = following - following % BLOCK
        self._kept = []
        return made


_KEPT: Final = ("seq", "at", "noise", "user_groups", "code", "resource", "subresource", "api_group", "uri", "user_agent", "suspicious", *PLAIN)  # fmt: skip
_SEQ: Final = _KEPT.index("seq")
_keep = itemgetter(*(Row._fields.index(name) for name in _KEPT))
_Columns = dict[str, tuple[Any, ...]]


def _build(writer: str, first: int, kept: list[tuple[Any, ...]]) -> Block:
    if not kept:
        return Block(writer, first, 0, 0, b"", [], [])
    columns: _Columns = dict(zip(_KEPT, zip(*kept, strict=True), strict=True))
    places = [seq - first for seq in columns["seq"]]
    times = columns["at"]
    runs = _texts_by_run(columns, places)
    postings = _postings(columns, places)
    for number, part in slices([slots_of(run.values()) for run in runs]):
        postings.append(Posting(Field.PIECES, slice_name(number), part))
    texts = [(number, _pack(run)) for number, run in enumerate(runs) if run]
    return Block(writer, first, min(times), max(times), _run_times(times, places), postings, texts)


def _postings(columns: _Columns, places: Sequence[int]) -> list[Posting]:
    made = []
    for field, values, named in _posted_columns(columns):
        found: defaultdict[bytes, list[list[int]]] = defaultdict(list)
        for value, where in _gather(values, places).items():
            for name in named(value):
                found[name].append(where)
        for name, lists in found.items():
            where = lists[0] if len(lists) == 1 else sorted({*chain.from_iterable(lists)})
            made.append(Posting(int(field), name, encode(where)))
    return made


def _posted_columns(
    columns: _Columns,
) -> Iterator[tuple[Field, Iterable[Any], Callable[[Any], Iterable[bytes]]]]:
    """What is posted: field, value at each place, and what a value is called in postings."""
    yield Field.NOISE, columns["noise"], lambda noise: (b"1" if noise else b"0",)
    for name, field in PLAIN.items():
        yield field, columns[name], lambda value: (posted(value),)
    yield Field.GROUP, columns["user_groups"], _joined_names
    yield Field.SUSPICIOUS, columns["suspicious"], _joined_names
    yield Field.NETWORK, columns["source_key"], lambda key: (posted(network_of(key)),)
    yield Field.CODE, columns["code"], _code_names
    kinds = (columns[name] for name in ("resource", "subresource", "api_group"))
    yield Field.RESOURCE, zip(*kinds, strict=True), _resource_names


def _joined_names(joined: str) -> Iterable[bytes]:
    return map(posted, joined[1:-1].split("\n")) if joined else ()


def _code_names(code: int | None) -> Iterable[bytes]:
    return () if code is None or not 0 <= code <= _HIGHEST_CODE else (posted_code(code),)


def _resource_names(kind: tuple[str, str, str]) -> Iterator[bytes]:
    resource, subresource, api_group = kind
    yield posted(resource)
    if subresource:
        yield posted(f"{resource}/{subresource}")
    if api_group:
        yield posted(f"{resource}.{api_group}")


def _gather(values: Iterable[Any], places: Sequence[int]) -> dict[Any, list[int]]:
    found: defaultdict[Any, list[int]] = defaultdict(list)
    for value, place in zip(values, places, strict=True):
        found[value].append(place)
    return found


def _texts_by_run(columns: _Columns, places: Sequence[int]) -> list[dict[int, Texts]]:
    """The searched texts by place in the run."""
    found: list[dict[int, Texts]] = [{} for _ in range(RUNS)]
    for place, texts in zip(
        places, zip(*(columns[name] for name in SEARCHED), strict=True), strict=True
    ):
        found[place // RUN][place % RUN] = texts
    return found


def _pack(run: dict[int, Texts]) -> bytes:
    return pack(run.get(place, ()) for place in range(max(run) + 1))


def _run_times(times: Sequence[int], places: Sequence[int]) -> bytes:
    oldest, newest = [0] * RUNS, [0] * RUNS
    runs: defaultdict[int, list[int]] = defaultdict(list)
    for time, place in zip(times, places, strict=True):
        runs[place // RUN].append(time)
    for run, some in runs.items():
        oldest[run], newest[run] = min(some), max(some)
    return _TIMES.pack(*oldest, *newest)


def run_times(runs: bytes) -> list[tuple[int, int]]:
    """(oldest, newest) of each run, µs since the epoch; zeros for one without events."""
    times = _TIMES.unpack(runs)
    return list(zip(times[:RUNS], times[RUNS:], strict=True))


def encode(places: Sequence[int]) -> bytes:
    """Places, in order, as a posting has them; a mark in front says in which form."""
    if len(places) <= _FEW:
        return _LIST + struct.pack(f"<{len(places)}H", *places)
    bits = _bitmap(places)
    packed = zlib.compress(bits, _FAST)
    # Unpacking is most of the work of a search over many values: only where it saves a lot.
    return _PACKED + packed if len(packed) < _WORTH_IT else _PLAIN + bits


def decode(posting: bytes) -> int:
    """A posting's places as the set bits of one number."""
    form, bits = posting[:1], posting[1:]
    if form == _LIST:
        bits = _bitmap(struct.unpack(f"<{len(bits) // 2}H", bits))
    elif form == _PACKED:
        bits = zlib.decompress(bits)
    return int.from_bytes(bits, "little")


def _bitmap(places: Iterable[int]) -> bytes:
    bits = bytearray(BITMAP)
    for place in places:
        bits[place >> 3] |= 1 << (place & 7)
    return bytes(bits)


_RUN_BYTES: Final = RUN // 8


def parts_by_run(bits: int) -> Iterator[tuple[int, int, int]]:
    """(run, its first place, its part of the bits); runs without any are left out."""
    if bits.bit_count() <= _FEW:
        parts: defaultdict[int, int] = defaultdict(int)
        for place in part_places(bits):
            parts[place // RUN] |= 1 << place % RUN
        for run, part in parts.items():
            yield run, run * RUN, part
        return
    data = bits.to_bytes(BITMAP, "little")
    for run in range(RUNS):
        part = int.from_bytes(data[run * _RUN_BYTES : (run + 1) * _RUN_BYTES], "little")
        if part:
            yield run, run * RUN, part


def part_places(part: int) -> Iterator[int]:
    """The numbers of the set bits."""
    while part:
        lowest = part & -part
        yield lowest.bit_length() - 1
        part ^= lowest


def whole_runs(word: int) -> int:
    """All places of the runs whose bits are set in `word`."""
    bits = b"".join([_RUNS_OF_BYTE[part] for part in word.to_bytes(RUNS // 8, "little")])
    return int.from_bytes(bits, "little")


_RUNS_OF_BYTE: Final = [
    b"".join((b"\xff" if part >> bit & 1 else b"\0") * _RUN_BYTES for bit in range(8))
    for part in range(256)
]


def slice_name(number: int) -> bytes:
    """The value under which a slice of pieces is posted."""
    return b"%03d" % number
