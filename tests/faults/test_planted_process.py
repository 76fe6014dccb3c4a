"""Each bug planted in the pipeline, the record or the gate is noticed by a rig."""

import pytest

from tests.faults.bug import Bug
from tests.faults.hunting import BUGS
from tests.faults.planted_process import CHANGES


@pytest.mark.timeout(120)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Bug) -> None:
    bug.caught()


def test_every_bug_is_hunted() -> None:
    assert [bug.name for bug in BUGS] == list(CHANGES)
