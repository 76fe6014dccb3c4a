"""Notes of acts: handed over once each, also when replicas start at once, and not lost by a failure."""

import asyncio

import pytest

from proxy.clock import ManualClock
from proxy.errors import UnavailableError
from proxy.state.notes import Note
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox

NOTES = [Note(f"id-{number}", 1000.0 - number, f'{{"n":{number}}}') for number in range(3)]


async def opened(url: str) -> StateStore:
    return await StateStore.open(url, SecretBox(bytes(32)), clock=ManualClock())


class Taken:
    """What was handed over."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.full = False

    async def record(self, note: Note) -> None:
        if self.full:
            raise UnavailableError("no space")
        self.ids.append(note.id)


async def test_each_is_handed_over_once_the_oldest_first(url: str) -> None:
    store, taken = await opened(url), Taken()
    before = await store.version()
    await store.notes.add(NOTES)
    await store.notes.add(NOTES[:1])
    assert await store.notes.settle(taken.record) == 3
    assert taken.ids == ["id-2", "id-1", "id-0"]
    await store.notes.add(NOTES)
    assert await store.notes.settle(taken.record) == 0
    assert await store.version() == before, "nobody's snapshot is of other days for it"
    await store.close()


async def test_what_could_not_be_recorded_comes_again(url: str) -> None:
    store, taken = await opened(url), Taken()
    await store.notes.add(NOTES)
    taken.full = True
    with pytest.raises(UnavailableError):
        await store.notes.settle(taken.record)
    taken.full = False
    assert await store.notes.settle(taken.record) == 3
    assert len(taken.ids) == 3
    await store.close()


async def test_of_servers_that_start_at_once_one_takes_them(url: str) -> None:
    first, second, taken = await opened(url), await opened(url), Taken()
    await first.notes.add(NOTES)
    found = await asyncio.gather(*(s.notes.settle(taken.record) for s in (first, second)))
    assert (sorted(found), len(taken.ids)) == ([0, 3], 3)
    await first.close()
    await second.close()


async def test_nothing_to_keep_asks_nobody(url: str) -> None:
    store = await opened(url)
    await store.notes.add([])
    assert await store.notes.settle(Taken().record) == 0
    await store.close()
