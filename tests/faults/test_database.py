"""PostgreSQL cut, stopped and away: every record is there once, and each planted bug is noticed."""

import pytest

from tests.faults import database
from tests.faults.bug import Bug
from tests.faults.planted_database import BUGS


@pytest.mark.timeout(180)
async def test_cuts_at_the_commit() -> None:
    report = await database.commit_cuts()
    assert not report.violations, report
    assert int(report.counts["cuts"]) >= 30, report
    assert int(report.counts["records"]) > 500, report


@pytest.mark.timeout(180)
async def test_immediate_stops() -> None:
    report = await database.immediate_stops()
    assert not report.violations, report
    assert int(report.counts["stops"]) >= 5, report
    assert int(report.counts["records"]) > 500, report


@pytest.mark.timeout(180)
async def test_an_outage_is_made_up_for() -> None:
    report = await database.outage()
    assert not report.violations, report
    assert int(report.counts["records"]) > 2 * database.CI.calls, report
    assert int(report.counts["calls meanwhile"]) > 0, report


@pytest.mark.timeout(60)
async def test_a_journal_from_an_older_copy_is_noticed() -> None:
    report = await database.restored_journal()
    assert not report.violations, report


@pytest.mark.timeout(120)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bugs_are_caught(bug: Bug) -> None:
    bug.caught()
