"""One process on a simulated disk, as far as its journal goes, and what was promised about it.

Everything below the writer's queue is the product's own: `recover`, `first_records`, `frame`,
`Segments`, the reserve and the bookmarks.
"""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from proxy.audit.journal import recovery
from proxy.audit.journal.bookmark import Bookmarks, bookmarks
from proxy.audit.journal.records import Batch, CorruptJournalError, Seal, frame
from proxy.audit.journal.recovery import Recovered
from proxy.audit.journal.reserve import Reserve
from proxy.audit.journal.segments import Finished, Segments
from proxy.clock import ManualClock, rfc3339
from tests.audit.journals import NOW
from tests.faults.disk import Disk
from tests.faults.simulated_oracle import Reader, View, Violation
from tests.faults.simulated_tail import followed

RESERVE: Final = 7000
"""Bytes of the reserve, a segment or two."""
WRITER: Final = "ab12cd34-0"
DIRECTORY: Final = Path("/data/journal/0")


@dataclass(slots=True)
class Ledger:
    """What was promised about a journal."""

    lines: list[bytes] = field(default_factory=list)
    """Acknowledged, or found by a recovery that ended: must be there, these bytes."""
    given: list[tuple[bytes, ...]] = field(default_factory=list)
    """Batches that nothing was promised about: one of them is there whole, or none at all.

    Several when a process could not write its first batch, and another one tried.
    """

    def copy(self) -> "Ledger":
        return Ledger(list(self.lines), list(self.given))

    def give(self, batch: Batch) -> None:
        self.given.append(tuple(batch.data.split(b"\n")[:-2]))

    def acknowledge(self) -> None:
        self.lines += self.given[-1]
        self.given = []

    def found(self, lines: list[bytes]) -> None:
        """A recovery says that these are there: now they must stay."""
        if len(lines) > len(self.lines):
            self.lines, self.given = list(lines), []


class Process:
    """One start of the proxy on a disk, as far as its journal goes."""

    segments: Segments
    reserve: Reserve
    _marks: Bookmarks
    _finished: list[Finished]

    def __init__(
        self, disk: Disk, ledger: Ledger, random: Random, segment_bytes: int, reader: Reader
    ) -> None:
        self._reader = reader
        self.disk = disk
        self.ledger = ledger
        self._random = random
        self._segment_bytes = segment_bytes
        self._next_seq = 1
        self._prev = ""

    def start(self, *, thorough: bool) -> None:
        """Recover, check what was found, and write the first batch.

        Raises OSError when the disk refuses, Violation when a promise was broken.
        """
        if thorough:
            same("the index", followed(self.disk, DIRECTORY), self._seen().lines)
        recovered = self._recover(self.disk)
        seen = self._promised()
        self.ledger.found(seen.lines)
        begun = _judge(seen, recovered)
        if thorough:
            self._agree(recovered, begun)
        self._open(recovered)
        self.commit(self.framed(recovery.first_records(recovered, NOW)))
        seen = self._promised()
        if seen.open:
            raise Violation(f"{len(seen.open)} open calls were not closed by the recovery")
        if thorough:
            same("the index", followed(self.disk, DIRECTORY), seen.lines)

    def check(self) -> None:
        """Raises Violation when what was promised is not there."""
        self._promised()

    def go_on(self) -> None:
        """What is done beside the hot path, once the first batch is durable."""
        self.reserve.make()
        self._marks._left = bookmarks(self.disk.names(DIRECTORY))
        self._marks._remove()

    def look_around(self) -> None:
        """The same, between batches: bookmarks for finished segments, the reserve made anew."""
        if self.segments.in_reserve:
            with contextlib.suppress(OSError):
                self.segments.prepare()
        elif not self.reserve.complete:
            with contextlib.suppress(OSError):
                self.reserve.make()
        if self._finished:
            try:
                for _ in self._marks.make(self._finished.pop(0)):
                    pass
            except OSError:  # no more bookmarks, as in the product
                self._finished, self._bookmarking = [], False

    def _agree(self, recovered: Recovered, begun: dict[bytes, bytes]) -> None:
        """A second recovery finds the same, and so does one that has no bookmarks."""
        bare = self.disk.kill()
        for name in [name for name in bare.entries if name.endswith(".open")]:
            bare.take_away(Path(name))
        for what, disk in (("a second recovery", self.disk), ("one without bookmarks", bare)):
            again = self._recover(disk)
            if (
                again.missing
                or again.open_calls != begun
                or (again.next_seq, again.prev)
                != (
                    recovered.next_seq,
                    recovered.prev,
                )
            ):
                raise Violation(f"{what} finds something else: {again} and not {recovered}")

    def _open(self, recovered: Recovered) -> None:
        self._finished = []
        self._bookmarking = True
        self._marks = Bookmarks(self.disk, DIRECTORY, WRITER)
        self.reserve = Reserve(self.disk, DIRECTORY, RESERVE)
        self.reserve.find()
        if self.reserve.size and self.disk.read(self.reserve.path).strip(b"\0"):
            raise Violation("the reserve is not empty, and will be taken for zeros")
        self.segments = Segments(
            self.disk,
            DIRECTORY,
            writer=WRITER,
            epoch=recovered.epoch,
            segment_bytes=self._segment_bytes,
            clock=ManualClock(NOW),
            reserve=self.reserve,
            on_finished=lambda segment: (
                self._finished.append(segment) if self._bookmarking else None
            ),
        )
        self._next_seq, self._prev = recovered.next_seq, recovered.prev

    def framed(self, bodies: list[bytes]) -> Batch:
        batch = frame(
            bodies,
            self._random.randbytes(16 * len(bodies)).hex().encode(),
            self._next_seq,
            self._prev,
        )
        self._next_seq, self._prev = batch.last + 1, batch.sha256
        self.ledger.give(batch)
        return batch

    def commit(self, batch: Batch) -> None:
        self.segments.commit(batch)
        self.ledger.acknowledge()

    def close(self) -> None:
        self.segments.close(Seal(self._next_seq - 1, self._prev, rfc3339(NOW)))

    def _promised(self) -> View:
        """What is there. Raises Violation when it is not what was promised."""
        ledger, seen = self.ledger, self._seen()
        if seen.conflict or seen.gap:
            raise Violation(seen.conflict or seen.gap)
        known = len(ledger.lines)
        same("the journal", seen.lines[:known], ledger.lines)
        if (rest := tuple(seen.lines[known:])) and rest not in ledger.given:
            raise Violation(f"{len(rest)} records after {known} were not given so, or not all")
        return seen

    def _seen(self) -> View:
        return self._reader.view(_files(self.disk))

    def _recover(self, disk: Disk) -> Recovered:
        try:
            return recovery.recover(disk, DIRECTORY, WRITER)
        except CorruptJournalError as error:
            raise Violation(f"a crash was taken for damage: {error.message}") from error


def _files(disk: Disk) -> dict[str, bytes]:
    skip = len(str(DIRECTORY)) + 1
    return {name[skip:]: inode.content() for name, inode in disk.entries.items()}


def _judge(seen: View, recovered: Recovered) -> dict[bytes, bytes]:
    """Whether the recovery found what is there; returns the open calls."""
    begun = {} if seen.sealed else seen.open
    if recovered.missing:
        raise Violation(f"records {recovered.missing} are called missing")
    if recovered.next_seq != len(seen.lines) + 1:
        raise Violation(
            f"the next epoch would begin at {recovered.next_seq} after {len(seen.lines)}"
        )
    if recovered.prev != seen.prev:
        raise Violation("the chain of checksums is broken by the next epoch")
    if recovered.open_calls != begun:
        raise Violation(f"{len(recovered.open_calls)} calls are held open, {len(begun)} are")
    if recovered.epoch <= seen.epoch:
        raise Violation(f"epoch {recovered.epoch} is used again")
    return begun


def same(what: str, found: list[bytes], promised: list[bytes]) -> None:
    if found != promised:
        for seq, (one, other) in enumerate(zip(found, promised, strict=False), 1):
            if one != other:
                raise Violation(f"{what} holds another record {seq} than was acknowledged")
        raise Violation(f"{what} holds {len(found)} records, promised were {len(promised)}")
