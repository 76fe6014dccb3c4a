"""A full disk: refused, but for break-glass, and healed when there is space again."""

import pytest

from tests.faults import full_disk


@pytest.mark.timeout(90)
def test_a_disk_that_fills_up() -> None:
    report = full_disk.run(full_disk.CI)
    assert not report.violations, report
    assert report.counts["fills"] == full_disk.CI.times, report
    least = int(report.counts["break-glass records (least)"])
    assert least >= full_disk.CI.records, report
