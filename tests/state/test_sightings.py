"""Sightings in the database: added up whoever writes, read again by whoever asks."""

import asyncio

import pytest

from proxy.clock import ManualClock
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.sightings import Sighting

NOW = ManualClock().now()


def seen(address: str, calls: int = 1, *, credential: str = "", at: float = NOW) -> Sighting:
    return Sighting("alice", credential, address, at, at + 1, calls)


async def opened(url: str, clock: ManualClock) -> StateStore:
    return await StateStore.open(url, SecretBox(bytes(32)), clock=clock)


async def test_calls_are_added_up_and_times_widened(url: str) -> None:
    store = await opened(url, ManualClock())
    sightings = store.sightings
    await sightings.add([seen("10.0.0.1", 3), seen("10.0.0.2"), seen("10.0.0.1", credential="a1")])
    await sightings.add([seen("10.0.0.1", 2, at=NOW - 100)])
    await sightings.add([seen("10.0.0.1", 1, at=NOW + 100)])
    whole = Sighting("alice", "", "10.0.0.1", NOW - 100, NOW + 101, 6)
    found = await sightings.of_user("alice", 10)
    assert found[0] == whole, "the latest first"
    others = [seen("10.0.0.2"), seen("10.0.0.1", credential="a1")]
    assert sorted(found[1:], key=lambda one: one.key) == others
    assert await sightings.of_user("alice", 1) == [whole]
    assert await sightings.of_user("bob", 10) == []
    await store.close()


async def test_nobody_who_watches_the_state_is_told(url: str) -> None:
    store = await opened(url, ManualClock())
    before = await store.version()
    heard = asyncio.Event()
    listening = store.listening(heard.set)
    if listening is not None:
        listening.start()
        await asyncio.wait_for(heard.wait(), 5)  # it says so itself when it begins
        heard.clear()
    await store.sightings.add([seen("10.0.0.1")])
    await store.sightings.forget([seen("10.0.0.1").key])
    await asyncio.sleep(0.2)
    assert await store.version() == before
    assert not heard.is_set()
    if listening is not None:
        await listening.close()
    await store.close()


async def test_what_was_written_since_is_read_again_and_again(url: str) -> None:
    clock = ManualClock()
    store = await opened(url, clock)
    await store.sightings.add([seen("10.0.0.1"), seen("10.0.0.2")])
    found, moment = await store.sightings.latest(0.0, 10)
    assert {one.address for one in found} == {"10.0.0.1", "10.0.0.2"}
    assert len((await store.sightings.latest(0.0, 1))[0]) == 1
    assert (await store.sightings.latest(moment + 60, 10))[0] == []
    await store.sightings.add([seen("10.0.0.2", at=NOW + 5)])
    found, later = await store.sightings.latest(moment, 10)
    assert "10.0.0.2" in {one.address for one in found}
    assert later >= moment
    await store.close()


async def test_some_are_forgotten_and_what_credentials_no_longer_do_is_pruned(url: str) -> None:
    store = await opened(url, ManualClock())
    await store.sightings.add(
        [
            seen("10.0.0.1"),
            seen("10.0.0.2"),
            seen("10.0.0.1", credential="old", at=NOW - 100),
            seen("10.0.0.1", credential="new"),
        ]
    )
    await store.sightings.forget([("alice", "", "10.0.0.2"), ("bob", "", "10.0.0.1")])
    assert await store.sightings.prune(NOW) == 1
    left = await store.sightings.of_user("alice", 10)
    assert {one.key for one in left} == {("alice", "", "10.0.0.1"), ("alice", "new", "10.0.0.1")}
    await store.close()


async def test_nothing_to_do_is_nothing_done(url: str) -> None:
    store = await opened(url, ManualClock())
    await store.sightings.add([])
    await store.sightings.forget([])
    seen, at = await store.sightings.latest(0.0, 10)
    assert seen == []
    assert at == pytest.approx(await _now(store), abs=60)
    await store.close()


async def _now(store: StateStore) -> float:
    return (await store.sightings.latest(0.0, 1))[1]


async def test_two_who_write_the_same_do_not_lock_each_other_out(url: str) -> None:
    one, other = await opened(url, ManualClock()), await opened(url, ManualClock())
    many = [seen(f"10.0.{number // 250}.{number % 250}") for number in range(300)]
    for _ in range(5):
        await asyncio.gather(one.sightings.add(many), other.sightings.add(many[::-1]))
    assert {item.calls for item in await one.sightings.of_user("alice", 1000)} == {10}
    await one.close()
    await other.close()
