"""Processes that write a journal on a simulated disk, die, and are followed by others.

After each operation on the disk, the states that a crash could leave at that moment are tried one
by one: a new process recovers there and writes its first batch, and what is then on the disk is
compared with what was promised. No threads, no clock, one seed.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

from proxy.audit.index.tailing import START
from proxy.audit.journal.segments import MisplacedFileError
from tests.faults.disk import EIO, ENOSPC, CrashStates, Disk, Fault
from tests.faults.simulated_calls import Calls
from tests.faults.simulated_oracle import Reader, Violation
from tests.faults.simulated_process import DIRECTORY, Ledger, Process, same
from tests.faults.simulated_tail import follow, tail

_EVERY: Final = 40
"""Crash states at one moment up to which all are tried."""
_SAMPLED: Final = 20
"""Crash states tried at one moment when there are more."""
_TROUBLE: Final = (0.0, 0.05, 0.15, 0.4)
"""How likely an operation is to fail, in one process or another."""
_NESTED: Final = 2
"""Crash states tried at each moment of a recovery that is crashed as well."""


@dataclass
class Counts:
    """What was tried."""

    states: int = 0
    """Of the disk after a crash, in each of which a process started."""
    lives: int = 0
    moments: int = 0
    batches: int = 0
    starts: int = 0
    failed_commits: int = 0
    seals: int = 0
    taken_away: int = 0
    """Segments that somebody deleted, replaced or cut while they were written."""


class Died(BaseException):
    """The process is gone in the middle of what it did; nothing in it may catch that."""


class Life:
    """A journal's life: processes that write and die, each followed by another."""

    def __init__(self, seed: str, counts: Counts | None = None) -> None:
        self.random = random = Random(seed)
        self.counts = counts or Counts()
        self._calls = Calls(random)
        self._segment_bytes = random.choice((1500, 3000, 5000, 9000))
        self._disk = Disk(ordered=random.random() < 0.3, lazy_shrink=random.random() < 0.3)
        self._ledger = Ledger()
        self._seen: set[int] = set()
        self._reader = Reader()
        self._depth = 0
        self._trouble = 0.0
        self._indexed: dict[int, bytes] = {}
        self._position = START
        self._left = 0
        """Operations until the process dies."""

    def live(self, processes: int = 6) -> None:
        """Raises Violation."""
        for _ in range(processes):
            self._one(self._disk)
            self._die()

    def _one(self, disk: Disk) -> None:
        random = self.random
        trouble = random.choice(_TROUBLE)
        self._trouble = trouble / 10
        self._left = random.choice((15, 60, 150, 400))
        disk.step = lambda _: self._moment(disk)
        disk.fault = self._fault if trouble else None
        process = Process(disk, self._ledger, random, self._segment_bytes, self._reader)
        self.counts.starts += 1
        try:
            process.start(thorough=True)
            self._index(disk)
            same("an index that went on", list(self._indexed.values()), self._ledger.lines)
            self._trouble = trouble
            process.go_on()
            for _ in range(random.choice((0, 1, 2, 4, 6, 9))):
                self._batch(process, self._calls.batch())
                if random.random() < 0.5:
                    process.look_around()
                if random.random() < 0.1:
                    self._take_away(process)
            if random.random() < 0.25:
                if rest := self._calls.finish():
                    self._batch(process, rest)
                process.close()
                self.counts.seals += 1
        except (OSError, Died):
            pass

    def _index(self, disk: Disk) -> None:
        """Another process reads on where it was, and keeps what it read, whatever happens here."""
        reader = tail(disk, DIRECTORY, self._position)
        follow(reader, self._indexed)
        self._position = reader.position

    def _moment(self, disk: Disk) -> None:
        self._explore(disk, self._ledger)
        self._left -= 1
        if self.random.random() < 0.1:
            self._index(disk)
        if not self._left:
            raise Died

    def _batch(self, process: Process, bodies: list[bytes]) -> None:
        """As the writer does: what could not be made durable is tried again, the same bytes."""
        batch = process.framed(bodies)
        self._seen.clear()
        self.counts.batches += 1
        for last in (False, False, True):
            try:
                process.commit(batch)
            except OSError:
                self.counts.failed_commits += 1
                if last:
                    raise
            else:
                self._seen.clear()
                return

    def _take_away(self, process: Process) -> None:
        """Somebody takes the segment: it is noticed once, and then everything is there again.

        Until then only the process has what it acknowledged; a crash or a fault would take it.
        """
        disk, segments, random = process.disk, process.segments, self.random
        present = segments._open
        if present is None:
            return
        step, fault, disk.step, disk.fault = disk.step, disk.fault, None, None
        path = DIRECTORY / str(present.name)
        how = random.choice((None, b"", b"another file\n", "cut"))
        if isinstance(how, str):
            disk.entries[str(path)].truncate(random.randrange(segments._end, present.capacity))
        else:
            disk.take_away(path, how)
        self.counts.taken_away += 1
        batch = process.framed(self._calls.batch())
        self._seen.clear()
        try:
            process.commit(batch)
        except MisplacedFileError:
            process.commit(batch)
        else:
            raise Violation(f"nobody noticed that a segment was taken away: {path} {how!r}")
        if lost := [saved.missing for saved in segments.rescued if saved.missing]:
            raise Violation(f"records were not saved from a segment taken away: {lost}")
        segments.rescued.clear()
        disk.step, disk.fault = step, fault
        process.check()

    def _fault(self, kind: str, _: str) -> Fault | None:
        random = self.random
        if random.random() >= self._trouble:
            return None
        error = random.choice((EIO, ENOSPC))
        if kind == "write":
            return Fault(error, random.choice((0.0, 0.0, 0.3, 0.9, 1.0)))
        return Fault(error, random.choice((0.0, 1.0)) if kind == "create" else 0.0)

    def _die(self) -> None:
        """The process ends here, or the machine; another disk is what the next one finds."""
        random = self.random
        disk = self._disk
        if random.random() < 0.5:
            self._disk = disk.kill()
            if random.random() < 0.5:
                self._disk.forget(random.randrange)
        else:
            self._disk = sample(disk.power_cut(), random)
        self._calls.forget()
        self._seen.clear()

    # -- crash states -------------------------------------------------------------------------

    def _explore(self, disk: Disk, ledger: Ledger) -> None:
        """Try what a crash can leave at this moment."""
        self.counts.moments += 1
        states = disk.power_cut()
        if self._depth:
            found = [sample(states, self.random) for _ in range(_NESTED)]
        elif states.count <= _EVERY:
            found = [states.state(digits) for digits in states.every()]
        else:
            found = [sample(states, self.random) for _ in range(_SAMPLED)]
        for state in found:
            self._try(state, ledger)
        # What a killed process had not synced is what the next one must see to.
        self._try(disk.kill(), ledger, nested=0.0 if self._depth else 0.2)
        if any(inode.limbo for inode in disk.entries.values()):
            killed = disk.kill()
            killed.forget(self.random.randrange)
            self._try(killed, ledger)

    def _try(self, disk: Disk, ledger: Ledger, nested: float = 0.03) -> None:
        """Start a process on what a crash left."""
        key = hash(tuple((name, inode.content()) for name, inode in disk.entries.items()))
        if key in self._seen and not self._depth:
            return
        self._seen.add(key)
        self.counts.states += 1
        ledger = ledger.copy()
        thorough = self.random.random() < 0.05
        if not self._depth and self.random.random() < nested:
            disk.step = lambda _: self._explore(disk, ledger)
        self._depth += 1
        try:
            Process(disk, ledger, self.random, self._segment_bytes, self._reader).start(
                thorough=thorough
            )
        except Violation:
            raise
        except Exception as error:
            raise Violation(f"no process can start after a crash: {error!r}") from error
        finally:
            self._depth -= 1


def sample(states: CrashStates, random: Random) -> Disk:
    """One state: of its choices, most are alike, as writeback leaves them; now and then none is."""
    radices = states.radices
    style = random.random()
    if style < 0.3:
        digits = [random.randrange(radix) for radix in radices]
    elif style < 0.6:
        all_new = random.choice((0.15, 0.5, 0.85))
        digits = [radix - 1 if random.random() < all_new else 0 for radix in radices]
    else:
        first = random.randrange(len(radices) + 1)
        written = random.random() < 0.7
        digits = [(radix - 1) * ((place < first) == written) for place, radix in enumerate(radices)]
    return states.state(digits, random.randrange if random.random() < 0.2 else None)
