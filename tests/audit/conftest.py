"""Fixtures of the record's tests."""

import pytest

from proxy.clock import ManualClock
from tests.audit.journals import NOW, FaultyStorage


@pytest.fixture
def disk() -> FaultyStorage:
    return FaultyStorage()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)
