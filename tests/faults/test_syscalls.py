"""System calls on the journal's files, broken one at a time: nothing acknowledged is lost."""

import pytest

from tests.faults import syscalls


@pytest.mark.timeout(150)
def test_broken_system_calls() -> None:
    report = syscalls.run(syscalls.CI)
    assert not report.violations, report
    assert int(report.counts["runs with a fault"]) >= syscalls.CI, report
    for fault in syscalls.FAULTS:
        assert int(report.counts[f"broken by {fault}"]) > 5, report
    assert int(report.counts["short writes"]) > 3, report
