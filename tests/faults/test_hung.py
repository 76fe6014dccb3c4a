"""A disk that hangs: nobody waits past the deadline, the loop runs on, memory stays, it heals."""

from collections.abc import Callable

import pytest

from tests.faults import hung
from tests.faults.report import NOT_EXERCISED, Report
from tests.faults.volumes import is_root


def check(report: Report) -> None:
    assert not report.violations, report
    assert float(report.counts["slowest answer ms"]) > 900, report
    assert int(report.counts["acknowledged calls"]) > 5, report


@pytest.mark.timeout(60)
def test_syncs_that_do_not_return() -> None:
    check(hung.run(hung.CI))


@pytest.mark.timeout(60)
def test_a_frozen_file_system(record_property: Callable[[str, object], None]) -> None:
    report = hung.run_frozen()
    if is_root():
        check(report)
    else:
        assert report.violations == [hung.NEEDS_ROOT]
        record_property(NOT_EXERCISED, report.name)
