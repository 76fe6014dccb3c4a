"""Single moments at which a crash once did harm, each small enough to read."""

import contextlib
from collections.abc import Callable, Iterator
from itertools import count
from random import Random

import pytest

from proxy.audit.journal.records import Batch
from proxy.audit.journal.recovery import recover
from proxy.audit.journal.segments import MisplacedFileError
from tests.audit.journals import a_call, intent, outcome
from tests.faults.crash_states import quiet
from tests.faults.disk import EIO, ENOSPC, Disk, Fault
from tests.faults.simulated_oracle import Reader
from tests.faults.simulated_process import DIRECTORY, WRITER, Ledger, Process
from tests.faults.simulated_tail import follow, tail

A, B = a_call(user_agent="k" * 900), a_call()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


class Journal(Process):
    """One process whose batches and faults a test names."""

    def __init__(self, disk: Disk, ledger: Ledger | None = None, segment_bytes: int = 6000) -> None:
        super().__init__(disk, ledger or Ledger(), Random(1), segment_bytes, Reader())

    def append(self, *bodies: bytes) -> Batch:
        batch = self.framed(list(bodies))
        self.commit(batch)
        return batch


def started(disk: Disk | None = None, ledger: Ledger | None = None, **given: int) -> Journal:
    journal = Journal(disk or Disk(), ledger, **given)
    journal.start(thorough=True)
    return journal


def failing(*kinds: str, after: int = 0, times: int = 1_000) -> Callable[[str, str], Fault | None]:
    """Fails these operations `times`, once `after` of them have gone well."""
    seen = count()
    return lambda kind, _: (
        Fault(EIO) if kind in kinds and after <= next(seen) < after + times else None
    )


def every_state(disk: Disk, ledger: Ledger, limit: int = 300) -> None:
    """A process starts in each state that a power cut may leave now."""
    states = disk.power_cut()
    random = Random(2)
    found = states.every() if states.count <= limit else (
        [random.randrange(radix) for radix in states.radices] for _ in range(limit)
    )  # fmt: skip
    for digits in found:
        started(states.state(digits), ledger.copy())


def test_the_power_goes_while_a_segment_gets_its_first_batch() -> None:
    disk = Disk()
    journal = Journal(disk)
    disk.step = lambda _: every_state(disk, journal.ledger)
    journal.start(thorough=False)
    journal.append(intent(A), intent(B), outcome(A), intent(a_call(user_agent="k" * 4000)))


def test_a_batch_whose_successor_has_only_a_header() -> None:
    """Its sync failed; it is whole all the same, and the next segment got no further."""
    journal = started()
    journal.append(intent(A))
    disk = journal.disk
    batch = journal.framed([outcome(A), intent(B)])
    disk.fault = failing("sync")
    disk.step = lambda _: started(disk.kill(), journal.ledger.copy())
    with pytest.raises(OSError, match="Input/output"):
        journal.commit(batch)
    disk.step = disk.fault = None
    every_state(disk, journal.ledger)


def test_a_restart_believes_no_page_that_a_failed_sync_left() -> None:
    journal = started()
    journal.append(intent(A))
    disk = journal.disk
    batch = journal.framed([outcome(A)])
    disk.fault = failing("sync", "create", "rename")
    with pytest.raises(OSError, match="Input/output"):
        journal.commit(batch)
    again = started(disk.kill(), journal.ledger)
    again.append(intent(B))
    every_state(again.disk, again.ledger)


def reserves(disk: Disk) -> set[bytes]:
    """What the reserve may hold after a power cut, without its zeros; filled as `disk` goes on."""
    reserve = str(DIRECTORY / "reserve")
    found: set[bytes] = set()

    def moment(_: str) -> None:
        states = disk.power_cut()
        for state in map(states.state, states.every()):
            if reserve in state.entries:
                found.add(state.entries[reserve].content().strip(b"\0"))

    disk.step = moment
    return found


def test_the_reserve_is_zeros_after_a_power_cut_took_its_new_name() -> None:
    journal = started(segment_bytes=1000)
    journal.go_on()
    disk = journal.disk
    disk.fault = lambda kind, _: Fault(ENOSPC) if kind == "create" else None
    found = reserves(disk)
    journal.append(intent(A))
    assert journal.segments.in_reserve
    assert found == {b""}


def test_a_torn_trailer_hides_nothing_that_stands_before_it() -> None:
    journal = started()
    journal.append(intent(A))
    first = journal.append(intent(B))
    disk = journal.disk
    disk.fault = failing("sync", times=1)
    batch = journal.append(outcome(A))
    inode = disk.entries[str(DIRECTORY / "000001-000001.jsonl")]
    data = inode.content()
    start = data.index(first.data) + len(first.data)
    at = data.index(b'\n{"kind":"Batch",', start) + 20
    inode.write(bytes(60), at)
    assert batch.data not in inode.content()
    found = recover(disk.kill(), DIRECTORY, WRITER)
    assert (found.missing, found.next_seq) == ([], 5)
    assert [*found.open_calls] == [B.audit_id.encode()]


@pytest.mark.parametrize("after", [0, 1])
def test_an_index_does_not_keep_what_a_failed_start_wrote(after: int) -> None:
    """The first batch of an epoch could be read, and then its sync failed."""
    disk = Disk()
    journal = Journal(disk)
    indexed: dict[int, bytes] = {}
    reader = tail(disk, DIRECTORY)
    disk.fault = failing("sync", after=after)
    disk.step = lambda kind: follow(reader, indexed) if kind == "write" else None
    with contextlib.suppress(OSError):
        journal.start(thorough=False)
    again = started(disk.kill(), journal.ledger)
    reader = tail(again.disk, DIRECTORY, reader.position)
    follow(reader, indexed)
    assert list(indexed.values()) == again.ledger.lines


@pytest.mark.parametrize("instead", [None, b"another file\n"])
def test_a_segment_taken_away_is_noticed_by_the_batch_that_no_longer_fits(
    instead: bytes | None,
) -> None:
    journal = started(segment_bytes=1000)
    journal.disk.take_away(DIRECTORY / "000001-000001.jsonl", instead)
    batch = journal.framed([intent(A)])
    with pytest.raises(MisplacedFileError):
        journal.commit(batch)
    journal.commit(batch)
    assert len(journal._promised().lines) == 2


@pytest.mark.parametrize("instead", [None, b"another file\n"])
def test_a_segment_taken_away_is_noticed_before_it_is_sealed(instead: bytes | None) -> None:
    journal = started()
    journal.append(intent(A))
    disk = journal.disk
    disk.take_away(DIRECTORY / "000001-000001.jsonl", instead)
    with pytest.raises(MisplacedFileError):
        journal.close()
    journal.segments.abandon()
    assert len(journal._promised().lines) == 2
    every_state(disk, journal.ledger)


def test_a_copy_on_the_reserve_never_becomes_the_reserve_again() -> None:
    journal = started(segment_bytes=1000)
    journal.go_on()
    disk = journal.disk
    disk.take_away(DIRECTORY / "000001-000001.jsonl")
    disk.fault = lambda kind, _: Fault(ENOSPC) if kind == "create" else None
    found = reserves(disk)
    batch = journal.framed([intent(A)])
    for _ in range(2):  # it is gone; it is saved, and nothing is left for the batch
        with pytest.raises(OSError, match=r"deleted|No space"):
            journal.commit(batch)
    assert [str(saved) for saved in journal.segments.rescued] == [
        "000001-000001.jsonl: records 1-1 saved in 000001-000001.jsonl"
    ]
    assert found == {b""}
