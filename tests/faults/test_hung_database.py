"""A database that hangs: nobody waits past the deadline, memory stays, it heals."""

import pytest

from tests.faults import hung_database
from tests.faults.test_hung import check


@pytest.mark.timeout(90)
def test_a_network_that_swallows_everything() -> None:
    check(hung_database.run(hung_database.CI))


@pytest.mark.timeout(90)
def test_a_server_that_is_stopped() -> None:
    check(hung_database.run_stopped(hung_database.CI))
