"""Whoever takes the journal's file away is noticed with the next batch, and it is on record."""

from collections.abc import Callable

import pytest

from tests.faults import tampering
from tests.faults.report import NOT_EXERCISED, Report
from tests.faults.volumes import is_root


def check(report: Report) -> None:
    assert not report.violations, report
    assert float(report.counts["noticed after s (max)"]) > 0, report


@pytest.mark.timeout(60)
def test_files_that_are_taken_away() -> None:
    report = tampering.run(tampering.CI)
    check(report)
    assert int(report.counts["acknowledged calls"]) > tampering.CI, report


@pytest.mark.timeout(60)
def test_a_file_that_is_cut() -> None:
    report = tampering.run(tampering.CI, ways=("truncate",))
    check(report)
    assert int(report.counts["acknowledged calls cut away"]) > 0, "nothing was cut"


@pytest.mark.timeout(60)
def test_a_disk_that_becomes_read_only(record_property: Callable[[str, object], None]) -> None:
    report = tampering.run_read_only(times=1)
    if is_root():
        check(report)
    else:
        assert report.violations == [tampering.NEEDS_ROOT]
        record_property(NOT_EXERCISED, report.name)
