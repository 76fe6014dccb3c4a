"""The oracle: what clients and the API server saw, against what the journal says.

It reads the journal itself, without the product's code, and incrementally: after each stretch of a
long run only what is new. Whatever does not fit is a violation, in words.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST = 20
"""Violations kept; more of them say nothing new."""
HELD_BACK = 64 * 1024
"""Bytes of an answer that may wait for its outcome; a larger one begins on record."""
_SEGMENT = re.compile(r"\d{6,}-\d{6,}\.jsonl")
_CLIENT = re.compile(r"(?:/|=|%3D)([a-z])\d+-\d+-\d+")
_MUTATING = {"POST", "PUT", "PATCH", "DELETE"}
_PREFIX = "/clusters/prod"


class Violations(list[str]):
    """Found so far; bounded."""

    def say(self, text: str) -> None:
        if len(self) < MOST:
            self.append(text)


@dataclass
class _Place:
    """How far one segment was read."""

    path: Path
    offset: int = 0


class JournalReader:
    """Reads one journal's batches as they come; holds them to the format."""

    def __init__(self, directory: Path, violations: Violations) -> None:
        self._directory = directory
        self._violations = violations
        self._place: _Place | None = None
        self._done: set[str] = set()
        self.expected = 1
        """The next sequence."""
        self.epoch = 0
        """Of the last batch. A start that was killed before its first batch has settled nothing."""
        self.begun = 0
        """The epoch of the last segment, which may have no batch yet."""
        self._chain = {1: "0" * 64}
        """First sequence of a batch → `prev` it must have, for the latest ones."""
        self._lines: dict[int, bytes] = {}
        """The latest lines, to compare with those that are told again."""
        self.batches = 0
        self.retold = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """Records that were not there at the last look."""
        names = sorted(
            entry.name for entry in self._directory.iterdir() if _SEGMENT.fullmatch(entry.name)
        )
        for name in names:
            if name in self._done:
                continue
            if self._place is None or self._place.path.name != name:
                if self._place is not None:
                    self._done.add(self._place.path.name)
                self._place = _Place(self._directory / name)
            yield from self._segment(self._place)

    def forget(self, keep: int) -> None:
        """Remove all segments but the latest `keep`; they were read and compared."""
        for name in sorted(self._done)[:-keep]:
            (self._directory / name).unlink(missing_ok=True)
        self._done = set(sorted(self._done)[-keep:])

    def _segment(self, place: _Place) -> Iterator[dict[str, Any]]:
        with place.path.open("rb") as file:
            file.seek(0, 2)
            if file.tell() < place.offset:
                self._violations.say(f"{place.path.name}: shorter than what was read of it")
                return
            file.seek(place.offset)
            data = file.read()
        position = 0
        if place.offset == 0:
            end = data.find(b"\n")
            if end < 0 or b"\0" in data[:end]:
                return
            self._header(json.loads(data[:end]), place.path.name)
            position = end + 1
        batch = position
        while (end := data.find(b"\n", position)) >= 0 and data[position] != 0:
            if data.startswith(b'{"kind":"Batch"', position):
                try:
                    trailer = json.loads(data[position:end])
                except ValueError:
                    break
                if trailer["bytes"] != position - batch:
                    break
                yield from self._batch(trailer, data[batch:position], place.path.name)
                batch = end + 1
            elif data.startswith(b'{"kind":"JournalSeal"', position):
                batch = end + 1
            position = end + 1
        place.offset += batch

    def _header(self, header: dict[str, Any], name: str) -> None:
        first = header["firstSeq"]
        if header["epoch"] < self.begun:
            self._violations.say(f"{name}: epoch {header['epoch']} after {self.begun}")
        self.begun = header["epoch"]
        if first > self.expected:
            self._violations.say(f"{name}: begins with {first}, {self.expected} should come")
        if self._chain.get(first) != header["prev"]:
            self._violations.say(f"{name}: does not continue what came before record {first}")
        self.retold += self.expected - first
        self.expected = first

    def _batch(self, trailer: dict[str, Any], data: bytes, name: str) -> Iterator[dict[str, Any]]:
        first, last = trailer["first"], trailer["last"]
        digest = hashlib.sha256(trailer["prev"].encode() + data).hexdigest()
        if digest != trailer["sha256"]:
            self._violations.say(f"{name}: batch {first}-{last} has another checksum")
        if self._chain.get(first) != trailer["prev"]:
            self._violations.say(f"{name}: batch {first}-{last} is not chained to the one before")
        self._chain[last + 1] = digest
        self.epoch = self.begun
        self.batches += 1
        lines = data.split(b"\n")[:-1]
        if len(lines) != trailer["count"] or first != self.expected:
            self._violations.say(
                f"{name}: batch {first}-{last} has {len(lines)} records, {self.expected} should come"
            )
        for seq, line in enumerate(lines, first):
            try:
                record = json.loads(line)
            except ValueError:
                self._violations.say(f"{name}: record {seq} is not JSON")
                continue
            if record["seq"] != seq:
                self._violations.say(f"{name}: record {record['seq']} stands where {seq} should")
            known = self._lines.get(seq)
            self._lines[seq] = line
            if known is None:
                yield record
            elif known != line:
                self._violations.say(f"{name}: record {seq} was told again, differently")
        self.expected = last + 1
        for kept in (self._chain, self._lines):
            while len(kept) > 20_000:
                del kept[next(iter(kept))]


@dataclass(slots=True)
class Entry:
    """One call, as the journal tells it."""

    target: str
    method: str
    epoch: int
    intents: int = 0
    started: int = 0
    terminals: int = 0
    status: int = 0
    reason: str = ""
    bytes_out: int = 0
    user: str = ""
    at: str = ""


class Told:
    """What one client was told of one call."""

    __slots__ = ("audit_id", "began", "ms", "status", "target", "user", "withheld")

    def __init__(self, words: list[str]) -> None:
        """From a line of tests.faults.client."""
        _, self.target, self.audit_id, status, _, ms, began, withheld = words
        self.status = int(status)
        self.ms = float(ms)
        self.began = float(began)
        """CLOCK_MONOTONIC."""
        name = _CLIENT.search(self.target)
        self.user = name[1] if name else "-"
        """The first letter of the user's name."""
        self.withheld = withheld == "withheld"
        """The cluster has answered, only its answer was refused."""


class Tail:
    """New whole lines of a log that another process appends to."""

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        self._path = path
        self._offset = path.stat().st_size if at_end else 0

    def lines(self) -> list[str]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        return data.decode().splitlines()


@dataclass
class Oracle:
    """All that is known; `check` compares while no proxy runs."""

    journal: Path
    effects: Path
    clients: list[Path]
    violations: Violations = field(default_factory=Violations)
    calls: dict[str, Entry] = field(default_factory=dict)
    by_target: dict[str, str] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    system: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: int = 0
    begun: int = 0
    answered: dict[int, int] = field(default_factory=dict)
    executed: int = 0
    mutated: int = 0
    recorded: int = 0
    interrupted: int = 0
    connections: int = 0
    slowest_ms: float = 0.0
    answers: list["Told"] | None = None
    """When a list, what the clients were told since the rig emptied it."""
    effects_of: set[str] = field(default_factory=set)
    """Targets of executed mutations."""
    unanswered: dict[str, float] = field(default_factory=dict)
    """Target → when it was sent, of calls without an answer by now; when answers are kept."""
    arrived: set[str] = field(default_factory=set)
    """Targets of all that reached the API server."""
    strangers: bool = False
    """Whether calls may be on record that no client logged (it logs nothing)."""

    def __post_init__(self) -> None:
        self.reader = JournalReader(self.journal, self.violations)
        self._tails = [Tail(path) for path in self.clients]
        self._effects = Tail(self.effects)
        self._previous: set[str] = set()
        self._unchecked: list[list[str]] = []
        self._unchecked_effects: list[list[str]] = []

    def watch(self, path: Path) -> None:
        """Listen to one more client."""
        self._tails.append(Tail(path))

    def move(self, journal: Path) -> None:
        """The journal is to be read there: its volume is mounted in another namespace."""
        self.reader = JournalReader(journal, self.violations)

    def hear(self) -> None:
        """Take in what clients and API server say by now; nothing is compared yet."""
        # Effects first: an answer that is heard has its effect heard, too.
        told = [line.split() for tail in self._tails for line in tail.lines()]
        for line in self._effects.lines():
            words = line.split()
            self.arrived.add(_PREFIX + words[2])
            if words[1] in _MUTATING:
                self.effects_of.add(_PREFIX + words[2])
            self._unchecked_effects.append(words)
        for words in told:
            if self.answers is not None:
                if words[0] == "S":
                    self.unanswered[words[1]] = float(words[3])
                else:
                    self.unanswered.pop(words[1], None)
            if self.answers is not None and words[0] in "AB" and float(words[6]):
                self.answers.append(Told(words))
            self._unchecked.append(words)

    def take(self) -> None:
        """Take in what the journal holds by now."""
        for record in self.reader.read():
            self.recorded += 1
            self._record(record)

    def check(self, *, final: bool = False) -> None:
        """Compare what is new. No proxy may be running; at the end every call must be closed."""
        self.hear()
        self.take()
        unchecked, self._unchecked = self._unchecked, []
        for words in unchecked:
            self._client(words)
        effects, self._unchecked_effects = self._unchecked_effects, []
        for words in effects:
            self._effect(*words)
        if not self.strangers:
            for target in self.by_target:
                if target not in self.sent:
                    self.violations.say(f"{target}: on record, but nobody sent it")
        self._close(final)

    # --- the journal ---------------------------------------------------------------------------

    def _record(self, record: dict[str, Any]) -> None:
        kind = record["kind"]
        if kind == "SystemEvent":
            self.system.append(record)
        elif kind == "ConnectionEvent":
            self.connections += 1
        elif kind == "Event":
            self._event(record)

    def _event(self, record: dict[str, Any]) -> None:
        audit_id, stage = record["auditID"], record["stage"]
        if audit_id in self.closed:
            self.violations.say(f"{audit_id}: {stage} after its terminal event")
            return
        entry = self.calls.get(audit_id)
        if entry is None:
            target = _PREFIX + record["requestURI"]
            entry = Entry(target, record["httpMethod"], self.reader.epoch)
            entry.user = record["user"]["username"]
            entry.at = record["stageTimestamp"]
            self.calls[audit_id] = entry
            if self.by_target.setdefault(target, audit_id) != audit_id:
                self.violations.say(f"{target}: two calls on record, but it was sent once")
        if entry.terminals:
            self.violations.say(f"{audit_id} {entry.target}: {stage} after its terminal event")
        if stage == "RequestReceived":
            entry.intents += 1
            if entry.intents > 1:
                self.violations.say(f"{audit_id} {entry.target}: two intents")
            return
        if not entry.intents:
            self.violations.say(f"{audit_id} {entry.target}: {stage} without an intent before it")
        if stage == "ResponseStarted":
            entry.started += 1
            return
        entry.terminals += 1
        entry.status = record["responseStatus"]["code"]
        entry.reason = record.get("closeReason", "")
        entry.bytes_out = record.get("bytesOut", 0)
        self.interrupted += entry.reason == "interrupted"

    # --- the witnesses -------------------------------------------------------------------------

    def _client(self, words: list[str]) -> None:
        what, target = words[:2]
        if what == "S":
            self.sent.add(target)
        elif what == "T":
            self.violations.say(f"{target}: no answer for {words[2]} ms")
        elif what in "AB":
            self._acknowledged(what, target, words[2], int(words[3]), int(words[4]))
            self.slowest_ms = max(self.slowest_ms, float(words[5]))

    def _acknowledged(self, what: str, target: str, audit_id: str, status: int, size: int) -> None:
        self.answered[status] = self.answered.get(status, 0) + 1
        if status == 503:
            return  # refused for want of a record; nothing is promised
        if audit_id == "-":  # the answer to an upgrade has no room for it
            audit_id = self.by_target.get(target, "-")
        entry = self.calls.get(audit_id)
        if entry is None:
            self.violations.say(f"{audit_id} {target}: acknowledged with {status}, not on record")
            return
        if entry.target != target:
            self.violations.say(f"{audit_id}: answered {target}, recorded {entry.target}")
        if what == "B":
            self.begun += 1
            if status == 101 and not entry.started:
                self.violations.say(f"{audit_id} {target}: its answer began without a record of it")
            return
        self.acknowledged += 1
        if not entry.terminals or entry.reason:
            self.violations.say(
                f"{audit_id} {target}: complete for its client, on record as "
                f"{entry.reason or 'open'}"
            )
        elif entry.status != status:
            self.violations.say(f"{audit_id} {target}: answered {status}, recorded {entry.status}")
        elif size > HELD_BACK and not entry.started:
            self.violations.say(f"{audit_id} {target}: a large answer, and its start not on record")
        elif entry.bytes_out != size:
            self.violations.say(
                f"{audit_id} {target}: {size} bytes received, {entry.bytes_out} recorded"
            )

    def _effect(self, audit_id: str, method: str, target: str) -> None:
        self.executed += 1
        # A read may be forwarded while its intent is on the way to the disk.
        must = method in _MUTATING
        self.mutated += must
        entry = self.calls.get(audit_id)
        if entry is None:
            if must:
                self.violations.say(f"{audit_id} {method} {target}: executed without an intent")
        elif entry.method != method or entry.target != _PREFIX + target:
            self.violations.say(
                f"{audit_id}: executed {method} {target}, recorded {entry.method} {entry.target}"
            )

    # --- the end -------------------------------------------------------------------------------

    def _close(self, final: bool) -> None:
        """Calls of earlier epochs must be closed; those that are long done are put away."""
        present = self.reader.epoch
        done = set()
        for audit_id, entry in self.calls.items():
            if not entry.terminals:
                if final or entry.epoch < present:
                    self.violations.say(f"{audit_id} {entry.target}: without a terminal event")
            elif entry.epoch < present - 1:
                done.add(audit_id)
        # Only at the second look: its client may have been about to read the answer.
        for audit_id in done & self._previous:
            entry = self.calls.pop(audit_id)
            del self.by_target[entry.target]
            self.sent.discard(entry.target)
            self.effects_of.discard(entry.target)
            self.arrived.discard(entry.target)
            self.closed.add(audit_id)
        self._previous = done - self.closed

    def counts(self) -> dict[str, int | float | str]:
        """For a report."""
        return {
            "records": self.recorded,
            "acknowledged calls": self.acknowledged,
            "executed mutations": self.mutated,
            "executed requests": self.executed,
            "interrupted calls": self.interrupted,
        }
