"""A full disk: refused, but for break-glass, and healed when there is space again."""

import pytest

from tests.faults import full_disk


@pytest.mark.timeout(90)
@pytest.mark.parametrize("size", [full_disk.CI, full_disk.TINY], ids=["32 MiB", "2 MiB"])
def test_a_disk_that_fills_up(size: full_disk.Size) -> None:
    report = full_disk.run(size)
    assert not report.violations, report
    assert report.counts["fills"] == size.times, report
    least = int(report.counts["break-glass records (least)"])
    assert least >= size.records, report
