"""Three replicas on one PostgreSQL, hurt in turn: nothing is lost, and each planted bug is noticed."""

from dataclasses import replace

import pytest

from tests.faults import replicas
from tests.faults.bug import Bug
from tests.faults.planted_replicas import BUGS


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("ack", "size"), [("local", replicas.CI), ("replicated", replace(replicas.CI, stops=2))]
)
def test_replicas_and_their_database_are_killed_under_load(ack: str, size: replicas.Size) -> None:
    report = replicas.run(size, ack=ack)
    assert not report.violations, report
    counts = report.counts
    assert int(counts["kills"]) + int(counts["changes"]) >= 3, report
    assert int(counts["restarts of PostgreSQL"]) == size.stops, report
    assert int(counts["acknowledged calls"]) > 500, report
    assert int(counts["executed mutations"]) > 500, report
    assert int(counts["applied by kubectl"]) > 5, report
    assert int(counts["changes of grants"]) >= 3 * size.changes, report


@pytest.mark.timeout(180)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bugs_are_caught(bug: Bug) -> None:
    bug.caught()
