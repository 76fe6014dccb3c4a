import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog.testing

from proxy.authz.deciding import decide
from proxy.authz.standing import caller_of
from proxy.clock import ManualClock, SystemClock
from proxy.state.access import Scope, ScopeKind, SubjectKind, UserKind
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import Credential, Snapshot, Usage
from proxy.state.watcher import PRUNE_SECONDS, SnapshotWatcher
from tests.authz.people import request


def credential(serial: str, not_after: float) -> Credential:
    return Credential(serial, "alice", (), ("*",), Usage.KUBECTL, 0.0, not_after, "f")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(url: str, clock: ManualClock) -> AsyncIterator[StateStore]:
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=clock)
    yield store
    await store.close()


@pytest.fixture
async def watcher(store: StateStore, clock: ManualClock) -> AsyncIterator[SnapshotWatcher]:
    watcher = SnapshotWatcher(store, clock=clock, interval=60)
    await watcher.start()
    yield watcher
    await watcher.close()


def changes(watcher: SnapshotWatcher) -> asyncio.Queue[tuple[Snapshot, Snapshot]]:
    queue: asyncio.Queue[tuple[Snapshot, Snapshot]] = asyncio.Queue()
    watcher.listen(lambda old, new: queue.put_nowait((old, new)))
    return queue


async def test_holds_the_state_from_the_start(watcher: SnapshotWatcher) -> None:
    assert watcher.current.version == 1


async def test_a_poke_is_enough(
    watcher: SnapshotWatcher, store: StateStore, clock: ManualClock
) -> None:
    seen = changes(watcher)
    await store.record_credential(credential("a1", clock.now() + 60))
    watcher.poke()
    old, new = await asyncio.wait_for(seen.get(), 5)
    assert (old.version, new.version) == (1, 2)
    assert new is watcher.current
    assert list(new.credentials) == ["a1"]


async def test_refresh_returns_what_was_committed_before(
    watcher: SnapshotWatcher, store: StateStore, clock: ManualClock
) -> None:
    await store.record_credential(credential("a1", clock.now() + 60))
    assert (await watcher.refresh()).version == 2


async def test_a_failing_listener_stops_nobody(
    watcher: SnapshotWatcher, store: StateStore, clock: ManualClock
) -> None:
    def defective(old: Snapshot, new: Snapshot) -> None:
        raise RuntimeError("defect")

    watcher.listen(defective)
    seen = changes(watcher)
    await store.record_credential(credential("a1", clock.now() + 60))
    with structlog.testing.capture_logs() as logs:
        await watcher.refresh()
    assert seen.qsize() == 1
    assert [entry["event"] for entry in logs] == ["a listener of the state failed"]


async def test_ended_credentials_leave_memory(
    watcher: SnapshotWatcher, store: StateStore, clock: ManualClock
) -> None:
    await store.record_credential(credential("short", clock.now() + 1))
    await store.record_credential(credential("long", clock.now() + 10 * PRUNE_SECONDS))
    assert len((await watcher.refresh()).credentials) == 2
    clock.advance(PRUNE_SECONDS)
    assert list((await watcher.refresh()).credentials) == ["long"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_an_unreadable_database_keeps_the_last_state(
    store: StateStore, clock: ManualClock, tmp_path: Path
) -> None:
    watcher = SnapshotWatcher(store, clock=clock, interval=0.001)
    await watcher.start()
    try:
        await store.close()
        (tmp_path / "state.db").write_bytes(b"x" * 4096)
        with structlog.testing.capture_logs() as logs:
            async with asyncio.timeout(5):
                while not logs:
                    await asyncio.sleep(0.001)
        assert watcher.current.version == 1
        clock.advance(7)
        assert watcher.stale_seconds == 7
    finally:
        await watcher.close()


def revoke_elsewhere(url: str) -> None:
    async def revoke() -> None:
        store = await StateStore.open(url, SecretBox(bytes(32)), clock=SystemClock())
        await store.revoke(serial="a1")
        await store.close()

    asyncio.run(revoke())


async def test_a_revocation_by_another_process_arrives_within_a_second(
    store: StateStore, url: str, clock: ManualClock
) -> None:
    await store.record_credential(credential("a1", clock.now() + 60))
    watcher = SnapshotWatcher(store, clock=clock)
    await watcher.start()
    seen = changes(watcher)
    process = multiprocessing.get_context("spawn").Process(target=revoke_elsewhere, args=(url,))
    try:
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0
        _, new = await asyncio.wait_for(seen.get(), 1)
        assert new.credentials["a1"].revoked_at is not None
    finally:
        process.close()
        await watcher.close()


async def test_a_grant_counts_at_another_replica_soon_and_no_longer_than_it_stands(
    url: str, clock: ManualClock
) -> None:
    """Each with its own connections, as replicas have; nobody pokes the one that only follows."""
    box = SecretBox(bytes(32))
    here, there = [await StateStore.open(url, box, clock=clock) for _ in range(2)]
    following = SnapshotWatcher(there, clock=clock)
    await following.start()
    seen = changes(following)

    async def until(held: int) -> float:
        """Seconds until the other one has so many grants of alice's."""
        started = asyncio.get_running_loop().time()
        while len(following.current.access.grants) != held:
            await asyncio.wait_for(seen.get(), 5)
        return asyncio.get_running_loop().time() - started

    await here.people.add_user("alice", kind=UserKind.PERSON, by="admin")
    await here.add_cluster("prod", server="https://prod", kubeconfig=b"")
    scope = Scope(ScopeKind.CLUSTER, cluster="prod")
    grant = await here.people.add_grant(
        subject_kind=SubjectKind.USER,
        subject="alice",
        role="cluster-admin",
        scope=scope,
        by="admin",
    )
    assert await until(1) < 1
    alice = caller_of(following.current.access, "alice", ())
    wanted = request("DELETE /api/v1/nodes/one")
    assert decide(following.current.access, alice, wanted, clock.now()).allowed
    await here.people.revoke_grant(grant.id, by="admin", reason="moves on")
    assert await until(0) < 1
    assert not decide(following.current.access, alice, wanted, clock.now()).allowed
    await following.close()
    for store in (here, there):
        await store.close()
