import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog.testing

from proxy.clock import SystemClock
from proxy.metrics import Metrics
from proxy.settings import Upstream
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.watcher import SnapshotWatcher
from proxy.upstream.bootstrap import role
from proxy.upstream.checking import PermissionChecker
from proxy.upstream.directory import ClusterDirectory
from tests.upstream.fake_api import FakeApi, Rule, serving

CLOCK = SystemClock()
MINIMAL: list[Rule] = role(["dev"])["rules"]
EVERYTHING: list[Rule] = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]


class World:
    def __init__(self, store: StateStore, watcher: SnapshotWatcher, settings: Upstream) -> None:
        self.store = store
        self.watcher = watcher
        self.metrics = Metrics()
        self.directory = ClusterDirectory(store, watcher, settings, clock=CLOCK)
        self.checker = PermissionChecker(
            self.directory, watcher, settings, clock=CLOCK, metrics=self.metrics, store=store
        )

    async def add(self, api: FakeApi, name: str = "prod") -> None:
        await self.store.add_cluster(
            name, server=api.server, kubeconfig=api.access().document(name)
        )
        await self.watcher.refresh()

    def refused(self, name: str = "prod") -> str:
        target = self.directory.target(name)
        assert target is not None
        return target.refused

    def up(self, name: str = "prod") -> float | None:
        return self.metrics.registry.get_sample_value("kubewitness_cluster_up", {"cluster": name})


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with serving(FakeApi(rules=MINIMAL)) as api:
        yield api


@pytest.fixture(params=["refuse"])
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    url = sqlite_url(tmp_path / "state.db")
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=CLOCK)
    watcher = SnapshotWatcher(store, clock=CLOCK, interval=60)
    await watcher.start()
    world = World(store, watcher, Upstream(excess_permissions=request.param, check_interval=0.001))
    yield world
    await world.checker.close()
    await world.directory.close()
    await watcher.close()
    await store.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_minimal_account_is_allowed_after_the_first_look(
    world: World, api: FakeApi
) -> None:
    await world.add(api)
    await world.directory.start()
    assert "has not been checked yet" in world.refused()
    await world.checker.look()
    assert (world.refused(), world.up()) == ("", 1)


async def test_excess_is_refused_told_once_and_noted(world: World, api: FakeApi) -> None:
    api.rules = EVERYTHING
    await world.add(api)
    await world.directory.start()
    with structlog.testing.capture_logs() as logs:
        await world.checker.look()
        await asyncio.sleep(0.002)
        await world.checker.look()
    assert "do everything" in world.refused()
    assert len(logs) == 1
    assert "kubewitness cluster bootstrap prod" in logs[0]["hint"]
    assert "do everything" in (await world.store.cluster("prod")).note


async def test_a_repaired_account_is_allowed_again(world: World, api: FakeApi) -> None:
    api.rules = EVERYTHING
    await world.add(api)
    await world.directory.start()
    await world.checker.look()
    api.rules = MINIMAL
    await asyncio.sleep(0.002)
    await world.checker.look()
    assert (world.refused(), (await world.store.cluster("prod")).note) == ("", "")


async def test_a_look_that_fails_changes_nothing(world: World, api: FakeApi) -> None:
    await world.add(api)
    await world.directory.start()
    api.accepted = "nobody"
    await world.checker.look()
    assert "has not been checked yet" in world.refused()
    assert world.up() == 0
    api.accepted = "Bearer good"
    await asyncio.sleep(0.002)
    await world.checker.look()
    assert world.refused() == ""
    api.accepted, api.rules = "nobody", EVERYTHING
    await asyncio.sleep(0.002)
    await world.checker.look()
    assert (world.refused(), world.up()) == ("", 0)


@pytest.mark.parametrize("world", ["warn"], indirect=True)
async def test_where_it_only_warns_nothing_is_refused(world: World, api: FakeApi) -> None:
    api.rules = EVERYTHING
    await world.add(api)
    await world.directory.start()
    assert world.refused() == ""
    await world.checker.look()
    assert world.refused() == ""
    assert "do everything" in (await world.store.cluster("prod")).note


async def test_running_it_looks_at_new_clusters_and_again(world: World, api: FakeApi) -> None:
    await world.directory.start()
    world.checker.start()
    await world.add(api)
    await until(lambda: world.refused() == "")
    api.rules = EVERYTHING
    await until(lambda: "do everything" in world.refused())


async def test_an_account_that_may_too_little_is_told_but_not_refused(
    world: World, api: FakeApi
) -> None:
    api.rules = []
    await world.add(api)
    await world.directory.start()
    await world.checker.look()
    assert world.refused() == ""
    assert "may not impersonate users" in (await world.store.cluster("prod")).note
