"""Clients leave in every phase of a call: each call has exactly one end on record."""

import pytest

from tests.faults import cuts
from tests.faults.cutter import PHASES


@pytest.mark.timeout(90)
def test_clients_that_leave() -> None:
    report = cuts.run(cuts.CI)
    assert not report.violations, report
    assert int(report.counts["cuts"]) > cuts.CI * 0.99, report
    assert all(int(report.counts[f"cut in {phase}"]) > cuts.CI / 20 for phase in PHASES), report
    assert int(report.counts["of them client-gone"]) > cuts.CI / 20, report
