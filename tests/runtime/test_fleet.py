"""All workers together; single ones are in test_supervisor.py."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.clock import ManualClock
from proxy.errors import UnavailableError
from proxy.runtime import fleet, supervisor
from proxy.runtime.essential import Essentials, EssentialTaskError
from proxy.runtime.fleet import Fleet
from proxy.settings import Settings


async def test_a_fleet_without_workers_is_always_fine(settings: Settings, tmp_path: Path) -> None:
    found = Fleet([], settings, tmp_path, ManualClock())
    assert found.failure() == ""
    await found.follow(7)
    await found.stop(asyncio.Event())


async def test_every_worker_that_is_not_ready_is_named(settings: Settings, tmp_path: Path) -> None:
    found = Fleet(["worker-1", "worker-2"], settings, tmp_path, ManualClock())
    assert found.failure() == "worker-1 is starting; worker-2 is starting"


@pytest.fixture
async def essentials() -> AsyncIterator[Essentials]:
    found = Essentials()
    yield found
    await found.stop()


async def test_workers_that_are_not_ready_in_time(
    settings: Settings, tmp_path: Path, essentials: Essentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "START", 0.01)
    found = Fleet(["worker-1"], settings, tmp_path, ManualClock())
    with pytest.raises(UnavailableError, match=r"within 0 s: worker-1 is starting"):
        await found.start(essentials, asyncio.Event())
    await essentials.stop()


async def test_a_worker_that_cannot_start_ends_the_start(
    settings: Settings, tmp_path: Path, essentials: Essentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF", (0.0,))
    monkeypatch.setattr(supervisor, "ATTEMPTS", 2)
    nowhere = settings.model_copy(update={"data_dir": tmp_path / "file" / "data"})
    (tmp_path / "file").write_text("")
    found = Fleet(["worker-1"], nowhere, tmp_path, ManualClock())
    with pytest.raises(EssentialTaskError, match="worker-1 ended 2 times before it was ready"):
        await found.start(essentials, asyncio.Event())
