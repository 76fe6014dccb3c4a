"""SIGKILL at random instants under load: nothing acknowledged is lost, nothing is done unrecorded."""

import pytest

from tests.faults import kill


@pytest.mark.timeout(120)
def test_kills_at_random_instants() -> None:
    report = kill.run(kill.CI)
    assert not report.violations, report
    assert int(report.counts["kills"]) >= 300, report
    for what in ("acknowledged calls", "executed mutations", "interrupted calls"):
        assert int(report.counts[what]) > int(report.counts["kills"]), report


@pytest.mark.timeout(120)
def test_a_large_journal_is_recovered_quickly() -> None:
    report = kill.run_recovery(size=kill.GIGABYTE // 4)
    assert not report.violations, report
