"""Crash states by the ten thousand: none loses, tears or invents a record."""

import pytest

from tests.faults.crash_states import CI_STATES, crash_states


@pytest.mark.timeout(240)
def test_no_crash_loses_an_acknowledged_record() -> None:
    report = crash_states(CI_STATES, seed=1)
    assert report.violations == []
    counts = report.counts
    assert int(counts["states"]) >= CI_STATES
    for happened in ("lives", "batches", "starts", "failed_commits", "seals"):
        assert int(counts[happened]) > 0, happened
