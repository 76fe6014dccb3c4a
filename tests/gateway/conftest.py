"""Fixtures of the gateway's tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from proxy.settings import Settings
from tests.gateway.world import World, start, stop

Make = Callable[[Settings], Awaitable[World]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Each test on both loops: production is uvloop, and its transports differ."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def make_world() -> AsyncIterator[Make]:
    """Makes data planes with settings of the test's own.

    Whatever a test did to one: afterwards nothing is counted as under way, and no call that is on
    record has two ends, or none while its journal worked.
    """
    made: list[World] = []

    async def make(settings: Settings) -> World:
        made.append(await start(settings))
        return made[-1]

    yield make
    for world in made:
        await stop(world)
        for name in ("calls_in_flight", "streams_open", "connections_open"):
            assert world.gauge(name) == 0, name
        for events in world.journal.calls().values():
            ends = [event["stage"] for event in events].count("ResponseComplete")
            ends += [event["stage"] for event in events].count("Panic")
            assert ends == 1 or (ends == 0 and world.journal.failed), events
            assert events[0]["stage"] == "RequestReceived"


@pytest.fixture
async def world(make_world: Make) -> World:
    """A running data plane, ended and looked over after the test."""
    return await make_world(Settings(listen="127.0.0.1:0"))
