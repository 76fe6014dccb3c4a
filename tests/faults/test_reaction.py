"""The disk refuses: so do we, at once, and no call gets through; it is back, and so are we."""

import pytest

from tests.faults import reaction


@pytest.mark.timeout(120)
def test_a_disk_that_fails() -> None:
    report = reaction.run(reaction.CI)
    assert not report.violations, report
    assert int(report.counts["failures"]) == reaction.CI, report
    assert int(report.counts["refused calls"]) > reaction.CI, report
