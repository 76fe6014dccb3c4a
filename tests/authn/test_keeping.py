"""What processes and replicas saw, kept and shared: in virtual time, on a real database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.authn.keeping import INTERVAL, KEPT, Keeper
from proxy.authn.suspicion import Suspicion, Use
from proxy.clock import ManualClock
from proxy.metrics import Metrics
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.sightings import BATCH
from proxy.suspicious import Suspicious

HOME, CAFE = "203.0.113.7", "192.0.2.44"


class Replica:
    """One process, with its own memory of what was seen."""

    def __init__(self, store: StateStore, clock: ManualClock, *, enabled: bool = True) -> None:
        settings = Suspicious(enabled=enabled)
        self.store = store
        self.clock = clock
        self.suspicion = Suspicion(settings, clock=clock, metrics=Metrics())
        self.keeper = Keeper(self.suspicion, store.sightings, clock=clock)

    def use(self, address: str, *, user: str = "alice", serial: str = "a1") -> str:
        return self.suspicion.look(Use(user, serial, self.clock.now(), address))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[StateStore]:
    made = await StateStore.open(
        sqlite_url(tmp_path / "state.db"), SecretBox(bytes(32)), clock=clock
    )
    yield made
    await made.close()


async def test_what_one_saw_the_other_knows(store: StateStore, clock: ManualClock) -> None:
    one, other = Replica(store, clock), Replica(store, clock)
    one.use(HOME)
    await one.keeper.level()
    await other.keeper.level()
    clock.advance(1)
    assert other.use(HOME) == "", "not new there either"
    assert other.use(CAFE) == "new-address,new-network,two-networks"
    await other.keeper.level()
    await one.keeper.level()
    assert one.use(HOME) == "two-networks", "of a use that the other one served"
    assert one.use(CAFE) == "two-networks"


async def test_calls_of_all_add_up(store: StateStore, clock: ManualClock) -> None:
    replicas = [Replica(store, clock) for _ in range(3)]
    for _ in range(4):
        for replica in replicas:
            clock.advance(1)
            replica.use(HOME)
            await replica.keeper.level()
    whole, own = sorted(await store.sightings.of_user("alice", 10), key=lambda one: one.key)
    assert (whole.credential, own.credential) == ("", "a1")
    assert whole.calls == own.calls == 12
    assert whole.last_seen - whole.first_seen == 11


async def test_a_restart_forgets_nothing(store: StateStore, clock: ManualClock) -> None:
    before = Replica(store, clock)
    await before.keeper.start()
    before.use(HOME)
    await before.keeper.close()
    clock.advance(31 * 86_400)
    after = Replica(store, clock)
    await after.keeper.start()
    assert after.use(CAFE) == "new-address,new-network,long-silence"
    await after.keeper.close()
    assert {one.address for one in await store.sightings.of_user("alice", 10)} == {HOME, CAFE}


async def test_it_is_written_within_seconds_by_itself(
    store: StateStore, clock: ManualClock
) -> None:
    one = Replica(store, clock)
    await one.keeper.start()
    one.use(HOME)
    assert await store.sightings.of_user("alice", 10) == []
    async with asyncio.timeout(10 * INTERVAL):
        while not await store.sightings.of_user("alice", 10):
            await asyncio.sleep(0.1)
    await one.keeper.close()


async def test_what_could_not_be_written_is_written_later(
    tmp_path: Path, clock: ManualClock
) -> None:
    url = sqlite_url(tmp_path / "state.db")
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=clock)
    one = Replica(store, clock)
    for number in range(BATCH):
        one.use(f"10.0.{number % 4}.{number // 4}", user=f"user-{number}", serial=f"c{number}")
    moved = tmp_path / "away.db"
    (tmp_path / "state.db").rename(moved)
    (tmp_path / "state.db").mkdir()  # neither readable nor to be made anew
    await store.close()
    await one.keeper.start()  # says so in the log, and goes on
    assert one.use(HOME) == ""
    (tmp_path / "state.db").rmdir()
    moved.rename(tmp_path / "state.db")
    await one.keeper.level()
    assert len(await store.sightings.of_user("user-7", 10)) == 2
    assert [item.calls for item in await store.sightings.of_user("alice", 10)] == [1, 1]
    await one.keeper.close()
    await store.close()


async def test_of_ended_credentials_the_user_s_places_stay(
    store: StateStore, clock: ManualClock
) -> None:
    one = Replica(store, clock)
    one.use(HOME)
    await one.keeper.start()
    clock.advance(KEPT + 3600)
    one.use(HOME, serial="a2")
    async with asyncio.timeout(10 * INTERVAL):
        while {item.credential for item in await store.sightings.of_user("alice", 10)} != {
            "",
            "a2",
        }:
            await asyncio.sleep(0.1)
    await one.keeper.close()


async def test_turned_off_it_touches_nothing(store: StateStore, clock: ManualClock) -> None:
    one = Replica(store, clock, enabled=False)
    await one.keeper.start()
    assert one.use(HOME) == ""
    await one.keeper.close()
    assert await store.sightings.latest(0.0, 10) == ([], clock.now())


async def test_a_stream_that_one_serves_the_other_knows_of(
    store: StateStore, clock: ManualClock
) -> None:
    one, other = Replica(store, clock), Replica(store, clock)
    other.use(HOME)
    clock.advance(3600)
    one.use(CAFE)
    stream = one.suspicion.opened("alice", "a1", CAFE)
    for _ in range(100):
        clock.advance(INTERVAL)
        await one.keeper.level()
    await other.keeper.level()
    assert other.use(HOME) == "two-networks"
    assert (await store.sightings.of_user("alice", 10))[0].calls == 1, "one call all the time"
    one.suspicion.closed(stream)
    clock.advance(7200)
    await one.keeper.level()
    await other.keeper.level()
    assert other.use(HOME) == ""
