"""Fixtures of the gateway's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.world import World, start, stop


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A running data plane, ended after the test."""
    running = await start()
    yield running
    await stop(running)
