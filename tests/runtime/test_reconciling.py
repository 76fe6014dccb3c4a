"""RoleBindings are kept in step with the grants, on record before anything is changed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from proxy.clock import SystemClock
from proxy.errors import UnavailableError
from proxy.metrics import Metrics
from proxy.reaching import Upstream
from proxy.runtime.reconciling import ACTION, Reconciler
from proxy.state.access import Scope, ScopeKind, SubjectKind, UserKind
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.watcher import SnapshotWatcher
from proxy.tasks import cancel, spawn
from tests.upstream.fake_rbac import FakeRbac, serving

WEB = Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="web")
ADMIN = ("web", "kubewitness-namespace-admin")


class Records:
    """A journal in memory; what is appended is durable, unless it is told to refuse."""

    failure = ""
    reserve_left = 0

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.refuses = False

    def append(
        self, body: bytes, *, urgent: bool = True, reserve: bool = False
    ) -> asyncio.Future[int]:
        del urgent, reserve
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.refuses:
            future.set_exception(UnavailableError("the disk is full"))
        else:
            self.events.append(json.loads(b"{%b}" % body))
            future.set_result(len(self.events))
        return future

    def post(self, body: bytes) -> None:
        _ = self.append(body)

    def outcomes(self) -> list[tuple[str, list[str]]]:
        return [
            (event.get("outcome", "ok"), event["detail"]["rolebindings"])
            for event in self.events
            if event["action"] == ACTION
        ]


class World:
    """A state, a cluster, and what keeps the one like the other."""

    def __init__(self, store: StateStore, watcher: SnapshotWatcher, fake: FakeRbac) -> None:
        self.store, self.watcher, self.fake = store, watcher, fake
        self.records = Records()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)

    async def grant(self, role: str = "namespace-admin", scope: Scope = WEB) -> str:
        grant = await self.store.people.add_grant(
            subject_kind=SubjectKind.USER, subject="alice", role=role, scope=scope, by="admin"
        )
        await self.watcher.refresh()
        return grant.id

    async def look_after(self, *, enforce: bool) -> None:
        await self.store.reconcilers.put(
            "prod",
            server="http://prod",
            kubeconfig=self.fake.kubeconfig(),
            enforce=enforce,
            by="admin",
        )
        await self.watcher.refresh()

    def drift(self) -> float | None:
        return self.registry.get_sample_value(
            "kubewitness_cluster_rolebinding_drift", {"cluster": "prod"}
        )


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def world(path: Path) -> AsyncIterator[World]:
    clock = SystemClock()
    store = await StateStore.open(sqlite_url(path / "state.db"), SecretBox(bytes(32)), clock=clock)
    await store.people.add_user("alice", kind=UserKind.PERSON, by="admin")
    watcher = SnapshotWatcher(store, clock=clock, interval=60)
    await watcher.refresh()
    fake = FakeRbac()
    async with serving(fake) as pool:
        server, first = f"http://127.0.0.1:{fake.port}", fake.kubeconfig()
        await store.add_cluster("prod", server=server, kubeconfig=first)
        await watcher.refresh()
        made = World(store, watcher, fake)
        reconciler = Reconciler(
            store,
            watcher,
            pool,
            made.records,
            upstream=Upstream(plain_http=(server,)),
            clock=clock,
            metrics=made.metrics,
        )
        task = spawn(reconciler.run(), name="reconciler")
        try:
            yield made
        finally:
            await cancel(task)
            await watcher.close()
            await store.close()


async def test_a_grant_comes_and_goes_and_so_does_its_rolebinding(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        await there.look_after(enforce=True)
        grant = await there.grant()
        await eventually(lambda: ADMIN in there.fake.bindings)
        made = there.fake.bindings[ADMIN]
        assert made["roleRef"]["name"] == "admin"
        assert [item["name"] for item in made["subjects"]] == ["kubewitness:namespace-admin:web"]
        await there.store.people.revoke_grant(grant, by="admin", reason="left")
        await there.watcher.refresh()
        await eventually(lambda: not there.fake.bindings)
        await eventually(lambda: len(there.records.outcomes()) == 4)
        assert there.records.outcomes() == [
            ("requested", ["web/kubewitness-namespace-admin is missing"]),
            ("ok", ["web/kubewitness-namespace-admin is missing"]),
            ("requested", ["web/kubewitness-namespace-admin belongs to no grant"]),
            ("ok", ["web/kubewitness-namespace-admin belongs to no grant"]),
        ]
        assert there.drift() == 0


async def test_what_only_reports_changes_nothing_and_says_it_once(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        await there.grant()
        await there.look_after(enforce=False)
        await eventually(lambda: there.drift() == 1)
        looks = len(there.fake.seen)
        await there.store.set_cluster_note("prod", "another change of the state")
        await there.watcher.refresh()
        await eventually(lambda: len(there.fake.seen) >= looks + 2)
        assert there.records.outcomes() == [
            ("drift", ["web/kubewitness-namespace-admin is missing"])
        ]
        assert there.fake.bindings == {}


async def test_what_somebody_altered_is_made_anew(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        await there.look_after(enforce=True)
        await there.grant()
        await eventually(lambda: ADMIN in there.fake.bindings)
        there.fake.bindings[ADMIN]["subjects"].append({"kind": "User", "name": "eve"})
        await there.store.set_cluster_note("prod", "a change of the state")
        await there.watcher.refresh()
        await eventually(lambda: len(there.fake.bindings.get(ADMIN, {}).get("subjects", [])) == 1)
        await eventually(lambda: len(there.records.outcomes()) == 4)
        assert there.records.outcomes()[-1] == (
            "ok",
            ["web/kubewitness-namespace-admin is not as it was made"],
        )


async def test_what_cannot_be_recorded_is_not_done(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        there.records.refuses = True
        await there.look_after(enforce=True)
        await there.grant()
        await eventually(lambda: there.drift() == 1)
        await asyncio.sleep(0.2)
        assert there.fake.bindings == {}
        assert not any(line.startswith(("POST", "DELETE")) for line in there.fake.seen)


async def test_a_cluster_that_refuses_is_shown_and_does_not_fill_the_record(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        there.fake.refuses = {"POST"}
        await there.look_after(enforce=True)
        await there.grant()
        await eventually(lambda: len(there.records.outcomes()) == 2)
        outcome, _ = there.records.outcomes()[1]
        assert outcome.startswith("failed: create web/kubewitness-namespace-admin: ")
        assert "rolebindings is forbidden" in outcome
        assert there.drift() == 1
        # Pokes by other changes do not make it try again before its time.
        for number in range(3):
            await there.store.set_cluster_note("prod", f"change {number}")
            await there.watcher.refresh()
        await asyncio.sleep(0.2)
        assert len(there.records.outcomes()) == 2


@pytest.mark.parametrize("how", ["taken back", "cluster removed"])
async def test_a_cluster_that_is_left_is_not_measured_any_more(tmp_path: Path, how: str) -> None:
    async with world(tmp_path) as there:
        await there.look_after(enforce=False)
        await eventually(lambda: there.drift() == 0)
        if how == "taken back":
            await there.store.reconcilers.remove("prod")
        else:
            await there.store.remove_cluster("prod")
        await there.watcher.refresh()
        await eventually(lambda: there.drift() is None)
