"""A revocation by one replica is known to another within a second, whatever its connections do."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from proxy.clock import SystemClock
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import Credential, Snapshot, Usage
from proxy.state.watcher import SnapshotWatcher
from tests.faults.fault_proxy import FaultProxy, Mode
from tests.postgres import Database

SLOW_POLL = 60.0
"""Seconds; longer than any test, so that only NOTIFY can have told."""


@pytest.fixture
async def proxy(state_database: Database) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(state_database.server.port) as proxy:
        yield proxy


@pytest.fixture
async def here(proxy: FaultProxy, postgres_url: str) -> AsyncIterator[StateStore]:
    """The store of a replica whose connections pass through the proxy."""
    box = SecretBox(bytes(32))
    store = await StateStore.open(proxy.url(postgres_url), box, clock=SystemClock())
    yield store
    await store.close()


@pytest.fixture
async def elsewhere(postgres_url: str) -> AsyncIterator[StateStore]:
    """The store of another replica."""
    store = await StateStore.open(postgres_url, SecretBox(bytes(32)), clock=SystemClock())
    now = time.time()
    await store.record_credential(
        Credential("a1", "alice", (), ("*",), Usage.KUBECTL, now, now + 3600, "f")
    )
    yield store
    await store.close()


class Seen:
    """Notes when a watcher first shows that `a1` is revoked."""

    def __init__(self, watcher: SnapshotWatcher) -> None:
        self.at = asyncio.get_running_loop().create_future()
        watcher.listen(self._changed)

    def _changed(self, _: Snapshot, new: Snapshot) -> None:
        if not self.at.done() and new.credentials["a1"].revoked_at is not None:
            self.at.set_result(time.monotonic())


async def listeners(database: Database, count: int) -> None:
    """Wait until so many sessions listen."""
    async with asyncio.timeout(5):
        while (
            await asyncio.to_thread(
                database.exec,
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'kubewitness state listener' AND query LIKE '%LISTEN%'",
            )
            != f"{count}"
        ):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("interval", "cut"),
    [(SLOW_POLL, False), (None, True), (None, False)],
    ids=["by-notify-alone", "listener-cut", "both"],
)
async def test_within_a_second(
    here: StateStore,
    elsewhere: StateStore,
    proxy: FaultProxy,
    state_database: Database,
    interval: float | None,
    cut: bool,
) -> None:
    watcher = SnapshotWatcher(here, clock=SystemClock(), interval=interval)
    await watcher.start()
    seen = Seen(watcher)
    try:
        await listeners(state_database, 1)
        if cut:
            proxy.cut()
        await elsewhere.revoke(serial="a1")
        done = time.monotonic()
        assert await asyncio.wait_for(seen.at, 5) - done < 1.0
    finally:
        await watcher.close()


async def test_with_a_listener_that_hears_nothing(
    here: StateStore, elsewhere: StateStore, proxy: FaultProxy
) -> None:
    """The listening connection is silent and nobody has noticed yet: looking is the net."""
    watcher = SnapshotWatcher(here, clock=SystemClock())
    assert watcher._listening is not None
    watcher._listening = None  # as good as silent
    await watcher.start()
    seen = Seen(watcher)
    try:
        await elsewhere.revoke(serial="a1")
        done = time.monotonic()
        assert await asyncio.wait_for(seen.at, 5) - done < 1.0
    finally:
        await watcher.close()


async def test_after_a_restart_of_the_server(
    here: StateStore, elsewhere: StateStore, state_database: Database
) -> None:
    watcher = SnapshotWatcher(here, clock=SystemClock(), interval=SLOW_POLL)
    await watcher.start()
    seen = Seen(watcher)
    try:
        await listeners(state_database, 1)
        await asyncio.to_thread(state_database.server.restart, "immediate")
        await listeners(state_database, 1)
        await elsewhere.revoke(serial="a1")
        done = time.monotonic()
        assert await asyncio.wait_for(seen.at, 5) - done < 1.0
    finally:
        await watcher.close()


async def test_what_was_committed_while_nobody_could_listen_is_seen_on_return(
    here: StateStore, elsewhere: StateStore, proxy: FaultProxy, state_database: Database
) -> None:
    watcher = SnapshotWatcher(here, clock=SystemClock(), interval=SLOW_POLL)
    await watcher.start()
    seen = Seen(watcher)
    try:
        await listeners(state_database, 1)
        await proxy.set_mode(Mode.REFUSE)
        proxy.cut()
        await elsewhere.revoke(serial="a1")
        await asyncio.sleep(0.3)
        assert not seen.at.done()
        await proxy.set_mode(Mode.PASS)
        done = time.monotonic()
        assert await asyncio.wait_for(seen.at, 5) - done < 1.5
    finally:
        await watcher.close()


async def test_a_listening_connection_gone_silent_is_given_up(
    here: StateStore, elsewhere: StateStore, proxy: FaultProxy, state_database: Database
) -> None:
    watcher = SnapshotWatcher(here, clock=SystemClock(), interval=SLOW_POLL)
    await watcher.start()
    try:
        await listeners(state_database, 1)
        before = proxy.counts["connections"]
        await proxy.set_mode(Mode.BLACKHOLE)
        async with asyncio.timeout(20):
            while proxy.counts["connections"] == before:
                await asyncio.sleep(0.02)
    finally:
        await watcher.close()
