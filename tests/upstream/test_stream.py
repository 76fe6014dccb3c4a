"""A body between two sides: order, bounds, ends, and readers that are cancelled."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.stream import HIGH_WATER, ByteStream


class Tap:
    """A source that counts how often it was stopped."""

    def __init__(self) -> None:
        self.pauses = 0

    def pause_reading(self) -> None:
        self.pauses += 1

    def resume_reading(self) -> None:
        self.pauses -= 1


@given(st.lists(st.one_of(st.binary(max_size=300), st.just(None)), max_size=30))
def test_bytes_come_out_as_they_went_in(steps: list[bytes | None]) -> None:
    stream = ByteStream(Tap())
    went_in = b""
    came_out = b""
    for data in steps:
        if data is None:
            came_out += stream.take() if stream.waiting else b""
        elif data:
            stream.feed(data)
            went_in += data
        assert stream.waiting == len(went_in) - len(came_out)
    came_out += stream.take()
    assert came_out == went_in
    assert stream.total == len(went_in)


async def test_too_much_stops_the_source_once_and_reading_starts_it_once() -> None:
    tap = Tap()
    stream = ByteStream(tap)
    for _ in range(3):
        stream.feed(b"x" * HIGH_WATER)
    assert tap.pauses == 1
    assert len(await stream.read()) == 3 * HIGH_WATER
    assert tap.pauses == 0


async def test_an_error_comes_after_what_arrived_before_it() -> None:
    stream = ByteStream(Tap())
    stream.feed(b"a")
    stream.fail(ValueError("broken"))
    assert await stream.read() == b"a"
    with pytest.raises(ValueError, match="broken"):
        await stream.read()
    stream.end()
    stream.fail(ValueError("too late"))
    with pytest.raises(ValueError, match="broken"):
        stream.check()


@pytest.mark.parametrize("how", ["read", "more"])
async def test_a_reader_that_ran_out_of_time_leaves_nothing_behind(how: str) -> None:
    stream = ByteStream(Tap())
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await getattr(stream, how)()
    reading: asyncio.Task[Any] = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    stream.feed(b"later")
    stream.wake()
    assert await reading == b"later"


@pytest.mark.parametrize(("size", "whole"), [(0, True), (10, True), (11, False), (1000, False)])
async def test_discarding_stops_at_its_limit(size: int, whole: bool) -> None:
    stream = ByteStream(Tap())
    if size:
        stream.feed(b"x" * size)
    if whole:
        stream.end()
    assert await stream.discard(10) is whole
    assert stream.waiting == 0
