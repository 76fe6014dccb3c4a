"""Free text of a block, run by run: which short pieces occur in a run, and the text itself.

Every piece of three and of four bytes is hashed to one of 65,536 slots. A slot is a word of 64 bits, one
for each run of the block; slots are stored in slices, because a search needs few of them. Pieces
that share a slot cost a look in vain at a run's text, which is kept compressed. ASCII letters are
in lower case throughout.
"""

import string
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

SLOTS: Final = 65_536
SLOTS_A_SLICE: Final = 128
WORD: Final = 8
"""Bytes of a slot."""
_LENGTHS: Final = (3, 4)
"""Bytes of a piece. Shorter texts are nearly everywhere; longer pieces say where not."""
_ENOUGH: Final = 12
"""Pieces that one search looks at."""
_FAST: Final = 1

Texts = tuple[str, ...]
"""The searched texts of one event, the URI first; see `proxy.audit.index.query.SEARCHED`."""


def _scatter(seed: int) -> tuple[int, ...]:
    """Sixteen well-spread bits for each byte; what is stored depends on them."""
    found = []
    for value in range(256):
        mixed = (value + 1) * seed & 0xFFFFFFFF
        mixed = (mixed ^ mixed >> 15) * 0x2C1B3C6D & 0xFFFFFFFF
        found.append((mixed ^ mixed >> 12) % SLOTS)
    return tuple(found)


_BYTES: Final = tuple(map(_scatter, (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)))
"""For each byte of a piece; its slot is their XOR."""
_LOW: Final = [bytes(value & 0xFF for value in table) for table in _BYTES]
_HIGH: Final = [bytes(value >> 8 for value in table) for table in _BYTES]
_FOLD: Final = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())


def _folded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").translate(_FOLD)


def slots_of(events: Iterable[Texts]) -> set[int]:
    """The slots of all pieces of these events' texts."""
    # Pieces across two texts do no harm: they only say that something may be there.
    data = _folded("\n".join(_distinct(set(events))))
    return set().union(*(_slots(data, length) for length in _LENGTHS))


def _distinct(events: Iterable[Texts]) -> set[str]:
    """Texts with the same pieces, and less repetition: URIs have much in common."""
    found: set[str] = set()
    for uri, *others in events:
        head, slash, tail = uri.rpartition("/")
        found.add(head + slash)
        found.add(head[1 - max(_LENGTHS) :] + slash + tail)
        found.update(text for text in others if text not in uri)
    return found


def wanted_slots(text: str) -> list[int]:
    """The slots that a run must have for `text` to be in it; at most a dozen, and none for a
    text that is shorter than a piece."""
    data = _folded(text)
    if len(data) < min(_LENGTHS):
        return []
    found = sorted(_slots(data, min(len(data), max(_LENGTHS))))
    return found[:: len(found) // _ENOUGH + 1]


def _slots(data: bytes, length: int) -> set[int]:
    """The slots of the pieces of one length, worked out for all of them at once."""
    count = len(data) - length + 1
    if count < 1:
        return set()
    both = bytearray(2 * count)
    both[0::2] = _mixed(data, _LOW[:length], count)
    both[1::2] = _mixed(data, _HIGH[:length], count)
    found = array("H", both)
    if sys.byteorder == "big":
        found.byteswap()
    return set(found)


def _mixed(data: bytes, tables: Sequence[bytes], count: int) -> bytes:
    mixed = 0
    for at, table in enumerate(tables):
        mixed ^= int.from_bytes(data[at : at + count].translate(table), "little")
    return mixed.to_bytes(count, "little")


def slices(runs: Sequence[set[int]]) -> list[tuple[int, bytes]]:
    """(number, content) of each slice that is not empty; `runs` are the slots of each run."""
    words = array("Q", bytes(SLOTS * WORD))
    for number, slots in enumerate(runs):
        bit = 1 << number
        for slot in slots:
            words[slot] |= bit
    if sys.byteorder == "big":
        words.byteswap()
    data = words.tobytes()
    size = SLOTS_A_SLICE * WORD
    cut = [(at // size, data[at : at + size]) for at in range(0, len(data), size)]
    return [(number, part) for number, part in cut if any(part)]


def pack(events: Iterable[Texts]) -> bytes:
    """The texts of a run, one event for each of its places; an empty one where there is none."""
    return zlib.compress(_folded("\0".join(map("\n".join, events))), _FAST)


def places_with(packed: bytes, text: str) -> int:
    """The places of a run in whose texts `text` stands, as bits."""
    data, wanted = zlib.decompress(packed), _folded(text)
    if wanted not in data:
        return 0
    found = 0
    for place, texts in enumerate(data.split(b"\0")):
        if wanted in texts:
            found |= 1 << place
    return found
