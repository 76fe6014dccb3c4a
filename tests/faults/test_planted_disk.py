"""Each bug planted below the writer's queue is found, and nothing is found without one."""

import pytest

from tests.faults.bug import Bug
from tests.faults.crash_states import hunt
from tests.faults.planted_disk import BUGS


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Bug) -> None:
    bug.caught(here=True)


def test_the_sound_product_is_not_accused() -> None:
    report = hunt(seed=2, seconds=5)
    assert report.violations == []
    assert int(report.counts["states"]) > 1000
