"""Free text of a block, run by run: which short pieces occur in a run, and the text itself.

Every piece of four bytes is hashed to one of 65,536 slots; its first three bytes choose a group of
four slots, so that a text of three bytes can be asked for as well. A slot is a word of 64 bits, one
for each run of the block; slots are stored in slices, because a search needs few of them. Pieces
that share a slot cost a look in vain at a run's text, which is kept compressed. ASCII letters are
in lower case throughout.
"""

import string
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

SLOTS: Final = 65_536
SLOTS_A_SLICE: Final = 128
WORD: Final = 8
"""Bytes of a slot."""
_PIECE: Final = 4
"""Bytes of a piece."""
_SHORTEST: Final = 3
"""Bytes of a text that can be asked for. Shorter ones are nearly everywhere."""
_GROUP: Final = 4
"""Slots that the first three bytes of a piece leave."""
_ENOUGH: Final = 12
"""Pieces that one search looks at."""
_FAST: Final = 1

Texts = tuple[str, ...]
"""The searched texts of one event, the URI first; see `proxy.audit.index.query.SEARCHED`."""


class Wanted(NamedTuple):
    """Slots side by side, one of which a run must have."""

    slot: int
    width: int


def _scatter(seed: int, most: int) -> tuple[int, ...]:
    """A well-spread number below `most` for each byte; what is stored depends on them."""
    found = []
    for value in range(256):
        mixed = (value + 1) * seed & 0xFFFFFFFF
        mixed = (mixed ^ mixed >> 15) * 0x2C1B3C6D & 0xFFFFFFFF
        found.append((mixed ^ mixed >> 12) % most)
    return tuple(found)


_FIRST: Final = [
    tuple(_GROUP * number for number in _scatter(seed, SLOTS // _GROUP))
    for seed in (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
]
"""For each of the first three bytes of a piece; its group of slots is their XOR."""
_LAST: Final = _scatter(0x27D4EB2F, _GROUP)
"""For the fourth byte: the slot within the group."""
_LOW: Final = [bytes(value & 0xFF for value in table) for table in (*_FIRST, _LAST)]
_HIGH: Final = [bytes(value >> 8 for value in table) for table in _FIRST]
_FOLD: Final = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())


def _folded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").translate(_FOLD)


def slots_of(events: Iterable[Texts]) -> set[int]:
    """The slots of all pieces of these events' texts."""
    # Pieces across two texts do no harm: they only say that something may be there. The newline
    # makes a piece of the last three bytes.
    return set(_slots(_folded("".join(f"{text}\n" for text in _distinct(set(events))))))


def _distinct(events: Iterable[Texts]) -> set[str]:
    """Texts with the same pieces, and less repetition: URIs have much in common."""
    found: set[str] = set()
    for uri, *others in events:
        head, slash, tail = uri.rpartition("/")
        found.add(head + slash)
        found.add(head[1 - _PIECE :] + slash + tail)
        found.update(text for text in others if text not in uri)
    return found


def wanted_slots(text: str) -> list[Wanted]:
    """What a run must have for `text` to be in it; at most a dozen, and nothing for a text that
    is too short."""
    data = _folded(text)
    if len(data) < _SHORTEST:
        return []
    if len(data) < _PIECE:
        group = _slots(data + b"\n")[0] // _GROUP
        return [Wanted(group * _GROUP, _GROUP)]
    found = sorted(set(_slots(data)))
    return [Wanted(slot, 1) for slot in found[:: len(found) // _ENOUGH + 1]]


def _slots(data: bytes) -> "array[int]":
    """The slot of each piece, worked out for all of them at once."""
    count = max(0, len(data) - _PIECE + 1)
    both = bytearray(2 * count)
    both[0::2] = _mixed(data, _LOW, count)
    both[1::2] = _mixed(data, _HIGH, count)
    found = array("H", both)
    if sys.byteorder == "big":
        found.byteswap()
    return found


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
