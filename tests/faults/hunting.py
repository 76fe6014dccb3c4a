"""Which rig must notice which bug of the process."""

import time
from collections.abc import Callable
from functools import partial

from tests.faults import cuts, full_disk, hung, hung_database, kill, reaction
from tests.faults.bug import Bug
from tests.faults.planted_process import planted
from tests.faults.report import Report

SECONDS = 45
"""A hunt's patience; it stops at the first violation."""


def _kill(bug: Bug) -> Report:
    return kill.run(kill.Size(kills=5000, seconds=SECONDS, stretch=10), seed=3, bug=bug.name)


def _reaction(bug: Bug) -> Report:
    return reaction.run(200, seed=3, bug=bug.name, seconds=SECONDS)


def _reaction_at_the_end(bug: Bug) -> Report:
    """For what shows only when the oracle has seen the last record: a few failures will do."""
    return reaction.run(reaction.CI, seed=3, bug=bug.name, seconds=SECONDS)


def _cuts(bug: Bug) -> Report:
    return cuts.run(200, seed=3, bug=bug.name)


def _full_disk(bug: Bug) -> Report:
    return full_disk.run(full_disk.CI, seed=3, bug=bug.name)


def _hung(bug: Bug) -> Report:
    return hung.run(3, seed=3, bug=bug.name)


def _hung_database(bug: Bug) -> Report:
    return hung_database.run(5, seed=3, bug=bug.name)


def _hung_often(bug: Bug) -> Report:
    """Until the disk hangs at a moment when an outcome is on its way to it."""
    until = time.monotonic() + SECONDS - 10
    seed = 3
    while not (report := hung.run(1.5, seed=seed, bug=bug.name)).violations:
        seed += 1
        if time.monotonic() > until:
            break
    return report


_TABLE: list[tuple[str, str, Callable[[Bug], Report]]] = [
    ("outcome-skipped", "an answer goes out and its outcome is never written", _kill),
    ("outcome-not-awaited", "an answer goes out before its outcome is durable", _kill),
    ("start-skipped", "a large answer begins without a record of it", _kill),
    ("last-chunk-before-the-outcome", "a stream looks complete before it is on record", _kill),
    ("intent-after-the-forward", "a call is forwarded, then its intent is written", _kill),
    ("intent-not-awaited", "a call is forwarded while its intent is on its way", _reaction),
    ("forward-on-a-refused-intent", "a call whose intent was refused is forwarded", _reaction),
    ("fail-open", "what the journal refuses is answered all the same", _reaction),
    ("gate-not-asked-for-reads", "reads are passed on while the gate is closed", _reaction),
    ("two-outcomes", "the terminal event is written twice", _kill),
    (
        "outcome-of-a-cut-call-dropped",
        "a call cut for want of a record stays open",
        _reaction_at_the_end,
    ),
    ("client-gone-unrecorded", "a call whose client left has no terminal event", _cuts),
    ("break-glass-for-everybody", "the reserve serves whoever comes", _full_disk),
    ("deadline-not-enforced", "calls wait for a hung disk as long as it hangs", _hung),
    (
        "database-deadline-not-enforced",
        "calls wait for a hung database as long as it hangs",
        _hung_database,
    ),
    (
        "withheld-answer-on-record-as-given",
        "an answer that was withheld stands on record as if it had been given",
        _hung_often,
    ),
]

BUGS = [Bug(name, breaks, partial(planted, name), hunt) for name, breaks, hunt in _TABLE]
