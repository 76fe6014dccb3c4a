import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import structlog.testing

from proxy.clock import Clock, ManualClock, SystemClock
from proxy.metrics import Metrics
from proxy.pki.authorities import Authorities
from proxy.pki.server import server_certificate
from proxy.reaching import Upstream
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
    def __init__(
        self, store: StateStore, watcher: SnapshotWatcher, settings: Upstream, clock: Clock
    ) -> None:
        self.store = store
        self.watcher = watcher
        self.metrics = Metrics()
        self.directory = ClusterDirectory(store, watcher, settings, clock=clock)
        self.checker = PermissionChecker(
            self.directory, watcher, settings, clock=clock, metrics=self.metrics, store=store
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

    def end(self, certificate: str, name: str = "prod") -> float | None:
        return self.metrics.registry.get_sample_value(
            "kubewitness_cluster_certificate_expiry_timestamp_seconds",
            {"cluster": name, "name": certificate},
        )


@asynccontextmanager
async def opened(directory: Path, settings: Upstream, clock: Clock) -> AsyncIterator[World]:
    url = sqlite_url(directory / "state.db")
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=clock)
    watcher = SnapshotWatcher(store, clock=clock, interval=60)
    await watcher.start()
    world = World(store, watcher, settings, clock)
    yield world
    await world.checker.close()
    await world.directory.close()
    await watcher.close()
    await store.close()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[FakeApi]:
    async with serving(FakeApi(rules=MINIMAL), tmp_path / "tls") as api:
        yield api


@pytest.fixture(params=["refuse"])
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    settings = Upstream(excess_permissions=request.param, check_interval=0.001)
    async with opened(tmp_path, settings, CLOCK) as world:
        yield world


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


async def test_another_account_is_looked_at_at_once(tmp_path: Path, api: FakeApi) -> None:
    settings = Upstream(excess_permissions="refuse", check_interval=600)
    async with opened(tmp_path, settings, CLOCK) as world:
        await world.add(api)
        await world.directory.start()
        world.checker.start()
        await until(lambda: world.refused() == "")
        api.rules = EVERYTHING
        await world.store.change_cluster(
            "prod", server=api.server, kubeconfig=api.access().document("prod")
        )
        await world.watcher.refresh()
        await until(lambda: "do everything" in world.refused())
        assert world.up() == 1


async def test_an_account_that_may_too_little_is_told_but_not_refused(
    world: World, api: FakeApi
) -> None:
    api.rules = []
    await world.add(api)
    await world.directory.start()
    await world.checker.look()
    assert world.refused() == ""
    assert "may not impersonate users" in (await world.store.cluster("prod")).note


async def test_between_looks_it_is_asked_whether_the_cluster_answers(tmp_path: Path) -> None:
    clock = ManualClock()
    async with (
        serving(FakeApi(rules=MINIMAL), tmp_path) as api,
        opened(tmp_path, Upstream(check_interval=600), clock) as world,
    ):
        await world.add(api)
        await world.directory.start()
        await world.checker.look()
        reviews = [path for method, path in api.seen if method == "POST"]
        assert reviews
        clock.advance(29)
        await world.checker.look()
        asked = len(api.seen)
        clock.advance(2)
        await world.checker.look()
        assert api.seen[asked:] == [("GET", "/version")]
        assert world.up() == 1
        # Not answering is noticed at once, and what answers again is looked at in full.
        api.accepted = "nobody"
        clock.advance(31)
        await world.checker.look()
        assert world.up() == 0
        api.accepted = "Bearer good"
        asked = len(api.seen)
        clock.advance(31)
        await world.checker.look()
        assert world.up() == 1
        assert ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews") in api.seen[asked:]


async def test_a_removed_cluster_is_not_measured_any_more(tmp_path: Path) -> None:
    async with (
        serving(FakeApi(rules=MINIMAL), tmp_path) as api,
        opened(tmp_path, Upstream(check_interval=600), CLOCK) as world,
    ):
        await world.add(api)
        await world.directory.start()
        await world.checker.look()
        soon = CLOCK.now() + 24 * 3600
        assert (world.up(), (world.end("server") or 0) > soon) == (1, True)
        await world.store.remove_cluster("prod")
        await world.watcher.refresh()
        await world.checker.look()
        assert (world.up(), world.end("server"), world.end("account")) == (None, None, None)


async def test_the_end_of_our_own_certificate_there_is_shown(tmp_path: Path) -> None:
    authorities = Authorities.open(tmp_path / "ours", clock=CLOCK)
    pair = server_certificate(authorities, ("proxy",), clock=CLOCK)
    async with (
        serving(FakeApi(rules=MINIMAL), tmp_path) as api,
        opened(tmp_path, Upstream(check_interval=600), CLOCK) as world,
    ):
        account = replace(
            api.access(),
            certificate_pem=pair.certificate.read_bytes(),
            key_pem=pair.key.read_bytes(),
        )
        await world.store.add_cluster(
            "prod", server=api.server, kubeconfig=account.document("prod")
        )
        await world.watcher.refresh()
        await world.directory.start()
        await world.checker.look()
        assert world.end("account") == pair.not_after
