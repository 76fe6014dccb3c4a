import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog.testing

from proxy.clock import ManualClock
from proxy.reaching import Upstream
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.watcher import SnapshotWatcher
from proxy.upstream.access import Access
from proxy.upstream.directory import ClusterDirectory

SERVER = "http://127.0.0.1:8001"


class World:
    """A state with a directory following it."""

    def __init__(
        self, store: StateStore, watcher: SnapshotWatcher, clock: ManualClock, file: Path
    ) -> None:
        permit = Upstream(plain_http=(SERVER,), token_files=(f"{SERVER} {file}",))
        self.store = store
        self.watcher = watcher
        self.directory = ClusterDirectory(store, watcher, permit, clock=clock)

    async def add(self, name: str, token: str = "t", kubeconfig: bytes | None = None) -> None:
        document = Access(SERVER, token=token).document(name) if kubeconfig is None else kubeconfig
        await self.store.add_cluster(name, server=SERVER, kubeconfig=document)
        await self.watcher.refresh()

    async def remove(self, name: str) -> None:
        await self.store.remove_cluster(name)
        await self.watcher.refresh()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def world(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    url = sqlite_url(tmp_path / "state.db")
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=clock)
    watcher = SnapshotWatcher(store, clock=clock, interval=60)
    await watcher.start()
    world = World(store, watcher, clock, tmp_path / "token")
    yield world
    await world.directory.close()
    await watcher.close()
    await store.close()


def authorization(world: World, name: str) -> bytes | None:
    target = world.directory.target(name)
    assert target is not None
    assert target.refused == ""
    return target.authorization()


async def test_clusters_of_the_state_are_usable_after_the_start(world: World) -> None:
    await world.add("prod", "one")
    await world.add("dev", "two")
    await world.directory.start()
    assert world.directory.names() == ["dev", "prod"]
    assert authorization(world, "prod") == b"Bearer one"
    assert authorization(world, "dev") == b"Bearer two"
    assert world.directory.target("other") is None


async def test_an_added_cluster_is_refused_until_it_is_loaded(world: World) -> None:
    await world.directory.start()
    await world.add("prod")
    target = world.directory.target("prod")
    assert target is not None
    assert target.refused == "cluster 'prod' is being loaded"
    await world.directory.settled()
    assert authorization(world, "prod") == b"Bearer t"


async def test_a_removed_cluster_is_gone_with_its_snapshot(world: World) -> None:
    await world.add("prod")
    await world.directory.start()
    gone = []
    world.watcher.listen(lambda _old, _new: gone.append(world.directory.target("prod")))
    await world.remove("prod")
    assert gone == [None]


async def test_a_cluster_added_again_under_its_name_is_another_target(world: World) -> None:
    await world.add("prod", "old")
    await world.directory.start()
    before = world.directory.target("prod")
    await world.store.remove_cluster("prod")
    await world.add("prod", "new")
    await world.directory.settled()
    assert world.directory.target("prod") is not before
    assert authorization(world, "prod") == b"Bearer new"


async def change(world: World, token: str, server: str = SERVER, document: bytes = b"") -> None:
    given = document or Access(server, token=token).document("prod")
    await world.store.change_cluster("prod", server=server, kubeconfig=given)
    await world.watcher.refresh()


async def test_another_account_takes_over_without_a_refusal(world: World) -> None:
    await world.add("prod", "one")
    await world.directory.start()
    record = world.directory.record("prod")
    assert record is not None
    await change(world, "two")
    assert authorization(world, "prod") == b"Bearer one"
    await change(world, "three")
    assert authorization(world, "prod") in {b"Bearer one", b"Bearer two"}
    await world.directory.settled()
    assert authorization(world, "prod") == b"Bearer three"
    # What was found out about the former account says nothing of this one.
    world.directory.refuse(record, "may do everything")
    assert authorization(world, "prod") == b"Bearer three"


async def test_an_account_that_cannot_be_used_takes_over_all_the_same(world: World) -> None:
    await world.add("prod", "one")
    await world.directory.start()
    await change(world, "", document=b"{}")
    await world.directory.settled()
    target = world.directory.target("prod")
    assert target is not None
    assert "no current context" in target.refused


async def test_a_cluster_that_moved_is_not_asked_where_it_was(world: World) -> None:
    await world.add("prod", "one")
    await world.directory.start()
    await change(world, "two", "https://k:6443")
    target = world.directory.target("prod")
    assert target is not None
    assert target.refused == "cluster 'prod' is being loaded"
    await world.directory.settled()
    target = world.directory.target("prod")
    assert target is not None
    assert (target.host, target.authorization()) == ("k", b"Bearer two")


async def test_a_note_changes_no_target(world: World) -> None:
    await world.add("prod")
    await world.directory.start()
    before = world.directory.target("prod")
    await world.store.set_cluster_note("prod", "may read secrets")
    await world.watcher.refresh()
    assert world.directory.target("prod") is before
    record = world.directory.record("prod")
    assert record is not None
    assert record.note == "may read secrets"


async def test_an_unusable_cluster_is_refused_with_the_reason(world: World) -> None:
    await world.add("prod")
    with structlog.testing.capture_logs() as logs:
        await world.add("bad", kubeconfig=b"{}")
        await world.directory.start()
    target = world.directory.target("bad")
    assert target is not None
    assert "no current context" in target.refused
    assert world.directory.ready("bad") is None
    assert [(entry["event"], entry["cluster"]) for entry in logs] == [
        ("cluster cannot be used", "bad")
    ]
    assert authorization(world, "prod") == b"Bearer t"


async def test_another_state_key_is_told_not_crashed_on(
    world: World, tmp_path: Path, clock: ManualClock
) -> None:
    await world.add("prod")
    store = await StateStore.open(
        sqlite_url(tmp_path / "state.db"), SecretBox(b"x" * 32), clock=clock
    )
    other = World(store, world.watcher, clock, tmp_path / "token")
    try:
        await other.directory.start()
        target = other.directory.target("prod")
        assert target is not None
        assert "sealed with key" in target.refused
    finally:
        await other.directory.close()
        await store.close()


class TestRefusing:
    async def test_and_allowing_again(self, world: World) -> None:
        await world.add("prod")
        await world.directory.start()
        record, usable = world.directory.record("prod"), world.directory.target("prod")
        assert record is not None
        world.directory.refuse(record, "may do everything")
        refused = world.directory.target("prod")
        assert refused is not None
        assert refused.refused == "may do everything"
        assert world.directory.target("prod") is refused
        assert world.directory.ready("prod") is usable
        world.directory.refuse(record, "")
        assert world.directory.target("prod") is usable

    async def test_never_the_one_added_since(self, world: World) -> None:
        await world.add("prod")
        await world.directory.start()
        record = world.directory.record("prod")
        assert record is not None
        await world.remove("prod")
        await world.add("prod")
        await world.directory.settled()
        world.directory.refuse(record, "may do everything")
        assert authorization(world, "prod") == b"Bearer t"


async def test_a_401_makes_it_look_for_a_newer_token(world: World, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    access = Access(SERVER, token_file=tmp_path / "token")
    await world.add("prod", kubeconfig=access.document("prod"))
    await world.directory.start()
    world.directory.unauthorized("prod")
    world.directory.unauthorized("unknown")
    assert authorization(world, "prod") == b"Bearer one"


async def test_closing_leaves_nothing_behind(world: World) -> None:
    await world.add("prod")
    await world.directory.start()
    await world.directory.close()
    assert world.directory.target("prod") is None
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not any("prod" in name for name in names)
