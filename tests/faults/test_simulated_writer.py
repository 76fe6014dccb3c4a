"""Whole writers on the simulated disk: what was acknowledged is there, whenever they die."""

from tests.faults.simulated_writer import crashed_writers


def test_no_crash_of_a_writer_loses_an_acknowledged_record() -> None:
    report = crashed_writers(runs=60, seed=1)
    assert report.violations == []
    assert int(report.counts["states"]) > 1000
    assert int(report.counts["acknowledged"]) > 100
