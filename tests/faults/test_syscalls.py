"""System calls on the journal's files and SQLite's, broken one at a time: nothing is lost."""

import pytest

from tests.faults import syscalls


@pytest.mark.timeout(240)
def test_broken_system_calls() -> None:
    report = syscalls.run(syscalls.CI)
    assert not report.violations, report
    assert report.counts["came about"] == report.counts["cases"] == syscalls.CI, report
    for fault in syscalls.FAULTS:
        assert int(report.counts[f"broken by {fault}"]) > 5, report
    assert int(report.counts["broken by short write"]) > 0, report


@pytest.mark.timeout(240)
def test_broken_system_calls_of_sqlite() -> None:
    report = syscalls.run_embedded(syscalls.CI_EMBEDDED)
    assert not report.violations, report
    assert report.counts["came about"] == report.counts["cases"] == syscalls.CI_EMBEDDED, report
    for fault in syscalls.FAULTS:
        assert int(report.counts[f"broken by {fault}"]) > 5, report
