"""A change of the state counts when the others have it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.clock import SystemClock
from proxy.runtime.following import LeadingWatcher
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[StateStore]:
    found = await StateStore.open(
        sqlite_url(tmp_path / "state.db"),
        SecretBox.open(tmp_path / "state.key"),
        clock=SystemClock(),
    )
    yield found
    await found.close()


async def test_refresh_returns_when_the_others_follow_and_asks_once_for_each_change(
    store: StateStore,
) -> None:
    asked: list[int] = []

    async def follow(version: int) -> None:
        asked.append(version)

    watcher = LeadingWatcher(store, clock=SystemClock())
    await watcher.refresh()
    assert asked == [], "nobody to follow yet"
    watcher.lead(follow)
    for name in ("one", "two"):
        await store.add_cluster(name, server="https://x", kubeconfig=b"{}")
        snapshot = await watcher.refresh()
        assert asked[-1] == snapshot.version
        await watcher.refresh()
    assert len(asked) == len(set(asked))


async def test_without_others_it_is_a_watcher_like_any(store: StateStore) -> None:
    watcher = LeadingWatcher(store, clock=SystemClock())
    await store.add_cluster("one", server="https://x", kubeconfig=b"{}")
    assert set((await watcher.refresh()).clusters) == {"one"}
