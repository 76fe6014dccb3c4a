"""Parts that must run."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from proxy.runtime.essential import Essentials, EssentialTaskError


async def forever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    pass


async def failing() -> None:
    raise ValueError("no disk")


@pytest.fixture
async def essentials() -> AsyncIterator[Essentials]:
    found = Essentials()
    yield found
    await found.stop()


async def test_the_end_that_was_asked_for_is_no_error(essentials: Essentials) -> None:
    essentials.start(forever(), "part")
    end = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, end.set)
    await essentials.wait(end)


@pytest.mark.parametrize(
    ("part", "message"),
    [(at_once, "part stopped: it ended"), (failing, "part stopped: ValueError: no disk")],
)
async def test_the_end_of_a_part_is_one(
    essentials: Essentials, part: Callable[[], Coroutine[Any, Any, None]], message: str
) -> None:
    essentials.start(forever(), "other")
    essentials.start(part(), "part")
    with pytest.raises(EssentialTaskError, match=message):
        await essentials.wait(asyncio.Event())


async def test_a_part_that_is_added_while_we_wait_counts(essentials: Essentials) -> None:
    essentials.start(forever(), "other")
    asyncio.get_running_loop().call_later(0.01, lambda: essentials.start(at_once(), "late"))
    with pytest.raises(EssentialTaskError, match="late stopped"):
        await essentials.wait(asyncio.Event())


async def test_stop_ends_them_all(essentials: Essentials) -> None:
    essentials.start(forever(), "part")
    await essentials.stop()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "part"]
