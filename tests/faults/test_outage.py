"""A proxy whose database goes away serves on, shows the lag, and makes up for it."""

import pytest

from tests.faults import outage


@pytest.mark.timeout(120)
def test_calls_go_on_while_the_database_is_away() -> None:
    report = outage.run()
    assert not report.violations, report
    counts = report.counts
    assert int(counts["lag shown at the end"]) > outage.CI.rate, report
    assert int(counts["acknowledged calls"]) > outage.CI.seconds * outage.CI.rate / 2, report
    assert int(counts["executed mutations"]) > 100, report
    assert "PostgreSQL" in str(counts["readyz says"]), report
