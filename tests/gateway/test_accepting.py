"""Whoever comes in is greeted by themselves, within a time, and on record when it does not work."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.audit.strangers import Strangers
from proxy.clock import SystemClock
from proxy.gateway.accepting import Accepting, Arrival, FailedConnections
from proxy.metrics import Metrics
from proxy.tasks import cancel, spawn
from tests.gateway.world import MemoryJournal

Address = tuple[str, int]
Told = list[tuple[str, str, str]]


async def forever(arrival: Arrival) -> None:
    """Greet somebody who says nothing."""
    await asyncio.get_running_loop().sock_recv(arrival.socket, 1)


async def refuse(arrival: Arrival) -> None:
    arrival.source = "203.0.113.7"
    raise ConnectionResetError("gone")


@asynccontextmanager
async def accepting(
    greet: Callable[[Arrival], Awaitable[None]], told: Told, *, seconds: float = 60, most: int = 9
) -> AsyncIterator[tuple[Accepting, Address]]:
    """A door with room for `most`, and its address."""
    door = Accepting(
        greet,
        seconds=seconds,
        room=lambda greeting: greeting < most,
        failed=lambda *failure: told.append(failure),
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        loop = spawn(door.run(listener), name="accept")
        yield door, listener.getsockname()
        await cancel(loop)
        await door.stop()


async def test_who_says_nothing_is_cut_in_time_and_told() -> None:
    told: Told = []
    async with accepting(forever, told, seconds=0.2) as (_, address):
        begun = time.monotonic()
        readers = [(await asyncio.open_connection(*address)) for _ in range(5)]
        for reader, writer in readers:
            assert await reader.read() == b""
            writer.close()
        assert time.monotonic() - begun < 1
    assert told == [("127.0.0.1", "tls-timeout", "no complete handshake in time")] * 5


async def test_a_failure_is_put_down_to_whom_greeting_found() -> None:
    told: Told = []
    async with accepting(refuse, told) as (_, address):
        reader, writer = await asyncio.open_connection(*address)
        assert await reader.read() == b""
        writer.close()
    assert told == [("203.0.113.7", "tls-handshake", "gone")]


async def test_without_room_they_are_turned_away_until_a_greeting_is_over() -> None:
    told: Told = []
    tasks: list[asyncio.Task[None]] = []

    async def greet(arrival: Arrival) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        with arrival.socket:
            await forever(arrival)

    async with accepting(greet, told, most=1) as (door, address):
        _, first = await asyncio.open_connection(*address)
        reader, second = await asyncio.open_connection(*address)
        assert await reader.read() == b""
        door.served(tasks[0])
        reader, third = await asyncio.open_connection(*address)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.1)
        assert len(tasks) == 2
        first.write(b"x")
        await tasks[0]
        for writer in (first, second, third):
            writer.close()
    assert told == []


async def test_who_is_greeted_when_it_stops_is_let_go() -> None:
    told: Told = []
    async with accepting(forever, told) as (_, address):
        reader, writer = await asyncio.open_connection(*address)
        await asyncio.sleep(0.05)
    assert await reader.read() == b""
    writer.close()
    assert told == []


@pytest.mark.parametrize("failure", ["", "the disk is full"])
async def test_a_failed_connection_is_counted_even_when_it_cannot_be_recorded(failure: str) -> None:
    journal, metrics = MemoryJournal(), Metrics()
    journal.failure = failure
    clock = SystemClock()
    strangers = Strangers("control", journal, clock, metrics, per_minute=9)
    failed = FailedConnections("control", journal, metrics, clock, strangers)
    failed.record("::1", "tls-timeout", "!")
    await asyncio.sleep(0.01)
    assert [
        (line["listener"], line["sourceIPs"], line["reason"], line["message"])
        for line in journal.lines
    ] == ([] if failure else [("control", ["::1"], "tls-timeout", "!")])
    value = metrics.registry.get_sample_value
    assert value("kubewitness_refusals_total", {"reason": "tls-timeout"}) == 1
