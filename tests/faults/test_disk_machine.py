"""The journal on the simulated disk, driven by hypothesis: what it finds, it makes small."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from proxy.audit.journal.segments import MisplacedFileError
from tests.faults.crash_states import quiet
from tests.faults.disk import EIO, ENOSPC, Disk, Fault
from tests.faults.simulated_calls import Calls
from tests.faults.simulated_oracle import Reader
from tests.faults.simulated_process import DIRECTORY, Ledger, Process

KINDS = ("write", "sync", "create", "rename", "remove", "truncate", "sync_directory")


class JournalMachine(RuleBasedStateMachine):
    """One journal: processes that append, disks that fail, and what is left when they die."""

    def __init__(self) -> None:
        super().__init__()
        self.process: Process | None = None
        self.ledger = Ledger()
        self.faults: dict[str, Fault] = {}

    @initialize(
        seed=st.integers(0, 2**16),
        segment=st.sampled_from((1500, 4000, 9000)),
        ordered=st.booleans(),
        lazy=st.booleans(),
    )
    def new(self, seed: int, segment: int, ordered: bool, lazy: bool) -> None:
        self.random = Random(seed)
        self.calls = Calls(self.random)
        self.reader = Reader()
        self.segment = segment
        self.disk = Disk(ordered=ordered, lazy_shrink=lazy)

    # -- processes ----------------------------------------------------------------------------

    @precondition(lambda self: self.process is None)
    @rule()
    def start(self) -> None:
        process = Process(self.disk, self.ledger, self.random, self.segment, self.reader)
        self.disk.fault = self._fault
        try:
            process.start(thorough=True)
            process.go_on()
        except OSError:
            assert self.faults, "it does not start on a disk that works"
            self._dead(self.disk.kill())
        else:
            self.process = process

    @precondition(lambda self: self.process is not None)
    @rule(size=st.integers(1, 3), attempts=st.integers(1, 3))
    def append(self, size: int, attempts: int) -> None:
        assert self.process is not None
        batch = self.process.framed([body for _ in range(size) for body in self.calls.batch()])
        for _ in range(attempts):
            try:
                self.process.commit(batch)
            except OSError:
                assert self.faults, "a batch was refused by a disk that works"
            else:
                return
        self._dead(self.disk.kill())

    @precondition(lambda self: self.process is not None)
    @rule()
    def look_around(self) -> None:
        assert self.process is not None
        self.process.look_around()

    @precondition(lambda self: self.process is not None and not self.faults)
    @rule()
    def close(self) -> None:
        assert self.process is not None
        if rest := self.calls.finish():
            self.process.commit(self.process.framed(rest))
        self.process.close()
        self._dead(self.disk.kill())

    @precondition(lambda self: self.process is not None and not self.faults)
    @rule(instead=st.sampled_from((None, b"", b"another file\n")))
    def take_away(self, instead: bytes | None) -> None:
        """The segment is deleted or replaced: refused once, then everything is there again."""
        assert self.process is not None
        present = self.process.segments._open
        assert present is not None
        self.disk.take_away(DIRECTORY / str(present.name), instead)
        batch = self.process.framed(self.calls.batch())
        with pytest.raises(MisplacedFileError):
            self.process.commit(batch)
        self.process.commit(batch)
        assert [saved.missing for saved in self.process.segments.rescued] == [None]
        self.process.segments.rescued.clear()

    # -- disks --------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(KINDS), error=st.sampled_from((EIO, ENOSPC)), part=st.floats(0, 1))
    def fail(self, kind: str, error: OSError, part: float) -> None:
        self.faults[kind] = Fault(error, part)

    @rule()
    def work_again(self) -> None:
        self.faults.clear()

    @rule(choices=st.randoms(use_true_random=False), forgets=st.booleans())
    def kill(self, choices: Random, forgets: bool) -> None:
        disk = self.disk.kill()
        if forgets:
            disk.forget(choices.randrange)
        self._dead(disk)

    @rule(data=st.data())
    def cut_the_power(self, data: Any) -> None:
        states = self.disk.power_cut()
        digits = [data.draw(st.integers(0, radix - 1)) for radix in states.radices]
        self._dead(states.state(digits))

    @invariant()
    def what_was_promised_is_there(self) -> None:
        if self.process is not None:
            self.process._promised()

    def _dead(self, disk: Disk) -> None:
        self.process, self.disk = None, disk
        self.calls.forget()

    def _fault(self, kind: str, _: str) -> Fault | None:
        return self.faults.get(kind)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


@pytest.mark.timeout(180)
def test_the_journal_machine() -> None:
    run_state_machine_as_test(
        JournalMachine,
        settings=settings(
            max_examples=400,
            stateful_step_count=30,
            derandomize=True,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
