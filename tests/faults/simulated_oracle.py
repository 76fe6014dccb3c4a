"""What must be true of a simulated journal, told without the product's own reader.

Written from the description of the format alone: another reader of the same bytes, so that a
mistake in the product's reader is not made here as well.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

_NAME: Final = re.compile(r"(\d{6,})-(\d{6,})\.jsonl")
_STAGE: Final = re.compile(rb'"stage":"(\w+)"')
_REMEMBERED: Final = 5000
"""Files with what is before them; the memory of a reader is bounded."""
_ID: Final = re.compile(rb'"auditID":"([^"]*)"')


class Violation(AssertionError):  # noqa: N818  # it is what a report calls it
    """The promise was broken."""


class Whole(NamedTuple):
    """A complete batch whose checksum is right."""

    first: int
    lines: tuple[bytes, ...]
    prev: str
    sha256: str


class Segment(NamedTuple):
    """What one file holds."""

    first_seq: int
    epoch: int
    batches: tuple[Whole, ...]
    sealed: bool


@lru_cache(maxsize=4096)
def read(data: bytes) -> Segment | None:
    """The segment in a file; None when its header was not completely written."""
    position = data.find(b"\n") + 1
    head = _object(data[:position])
    if head.get("kind") != "JournalHeader":
        return None
    batches: list[Whole] = []
    lines: list[bytes] = []
    begin = position
    sealed = False
    while (stop := data.find(b"\n", position)) >= 0:
        text = data[position:stop]
        if text.startswith(b'{"seq":'):
            lines.append(text)
            position = stop + 1
            continue
        said = _object(text)
        if said.get("kind") == "JournalSeal":
            sealed = not lines
            break
        whole = _whole(said, lines, data[begin:position])
        if whole is None:
            break
        batches.append(whole)
        lines, position = [], stop + 1
        begin = position
    return Segment(head["firstSeq"], head["epoch"], tuple(batches), sealed)


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _whole(said: dict[str, Any], lines: list[bytes], records: bytes) -> Whole | None:
    if said.get("kind") != "Batch" or said["count"] != len(lines) or not lines:
        return None
    if hashlib.sha256(said["prev"].encode() + records).hexdigest() != said["sha256"]:
        return None
    for seq, text in enumerate(lines, said["first"]):
        if not text.startswith(b'{"seq":%d,' % seq):
            raise Violation(f"record {seq} is numbered otherwise: {text[:40]!r}")
    return Whole(said["first"], tuple(lines), said["prev"], said["sha256"])


@dataclass(slots=True)
class View:
    """A journal as a reader sees it."""

    lines: list[bytes] = field(default_factory=list)
    """From the first sequence on, without gaps."""
    gap: str = ""
    """Where the sequences are not dense."""
    conflict: str = ""
    """Two whole batches that say different things about one sequence."""
    sealed: bool = False
    epoch: int = 0
    prev: str = "0" * 64
    open: dict[bytes, bytes] = field(default_factory=dict)
    """Audit id → line of the intent, of the calls without an outcome."""
    _ended: frozenset[bytes] = frozenset()
    _overruled: dict[int, bytes] = field(default_factory=dict)

    def after(self, name: str, segment: Segment) -> "View":
        """The same with one more segment behind it. Raises Violation."""
        lines = self.lines
        later = View(
            list(lines),
            self.gap,
            self.conflict,
            segment.sealed,
            segment.epoch,
            segment.batches[-1].sha256,
            dict(self.open),
            self._ended,
            self._overruled,
        )
        if (first := segment.first_seq) <= len(lines):
            later._overruled = {**self._overruled, **dict(enumerate(lines[first - 1 :], first))}
            del later.lines[first - 1 :]
            later.open, later._ended = {}, frozenset()
            later._follow(later.lines)
        told: list[bytes] = []
        for batch in segment.batches:
            if batch.first != len(later.lines) + len(told) + 1:
                later.gap = f"record {len(later.lines) + len(told)} is followed by {batch.first}"
            told += batch.lines
        for seq, text in enumerate(told, segment.first_seq):
            if later._overruled.get(seq, text) != text:
                later.conflict = f"{name} holds another record {seq} than a file before it"
        later.lines += told
        later._follow(told)
        return later

    def _follow(self, lines: list[bytes]) -> None:
        ended: set[bytes] = set()
        for text in lines:
            stage, audit_id = about(text)
            if stage == b"RequestReceived":
                self.open[audit_id] = text
            elif stage in (b"ResponseComplete", b"Panic"):
                if audit_id in ended or audit_id in self._ended:
                    raise Violation(f"call {audit_id.decode()} has two outcomes")
                if audit_id not in self.open:
                    raise Violation(f"call {audit_id.decode()} has an outcome and no intent")
                ended.add(audit_id)
                del self.open[audit_id]
        if ended:
            self._ended |= ended


class Reader:
    """Reads the files of a journal; remembers what it has read, since most files never change."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, bytes], tuple[int, View]] = {}

    def view(self, files: dict[str, bytes]) -> View:
        """Read a journal's files, by name. Raises Violation."""
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        known, seen = 0, View()
        for name in sorted(filter(_NAME.fullmatch, files), key=_place):
            key = (known, name, files[name])
            found = self._known.get(key)
            if found is None:
                segment = read(files[name])
                found = (
                    (len(self._known) + 1, seen.after(name, segment))
                    if segment is not None and segment.batches
                    else (known, seen)
                )
                self._known[key] = found
            known, seen = found
        return seen


@lru_cache(maxsize=4096)
def _place(name: str) -> tuple[int, int]:
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else (0, 0)


@lru_cache(maxsize=65536)
def about(text: bytes) -> tuple[bytes, bytes]:
    """(stage, audit id) of a line; empty of what is not a call's."""
    if b'"kind":"Event"' not in text:
        return b"", b""
    stage, audit_id = _STAGE.search(text), _ID.search(text)
    return (stage[1], audit_id[1]) if stage and audit_id else (b"", b"")
