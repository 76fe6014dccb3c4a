"""A proxy on PostgreSQL: what it records is there, and what happens while the database is away."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.audit.gate import Level
from proxy.audit.index.query import Filter
from proxy.audit.port import JournalUnavailableError
from proxy.clock import SystemClock
from proxy.metrics import Metrics
from proxy.runtime.core import MAIN_SLOT, Core, open_core
from proxy.runtime.database import status
from proxy.settings import Settings
from proxy.tasks import cancel, spawn
from tests.audit.index.postgresql.databases import Ready, ready_database
from tests.audit.journals import a_call, intent, outcome
from tests.postgres import Postgres
from tests.runtime.processes import initialised

ALL = Filter(include_noise=True)


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of our own: it is stopped."""
    with Postgres() as server:
        yield server


@pytest.fixture
def ready(server: Postgres) -> Iterator[Ready]:
    with ready_database(server) as ready:
        yield ready


def on(ready: Ready, tmp_path: Path, ack: str) -> Settings:
    return initialised(tmp_path / "data", database=ready.url, audit={"ack": ack})


async def level(core: Core, wanted: Level) -> None:
    async with asyncio.timeout(8):
        while core.gate.level is not wanted:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("ack", "away"), [("local", Level.DEGRADED), ("replicated", Level.CLOSED)])
async def test_a_database_that_goes_and_comes(
    own_environment, ready: Ready, server: Postgres, tmp_path: Path, ack: str, away: Level
):
    settings = on(ready, tmp_path, ack)
    metrics = Metrics()
    async with open_core(settings, SystemClock(), metrics, slot=MAIN_SLOT, main=True) as core:
        assert core.sharing is not None
        running = spawn(core.sharing.shipper.run(), name="shipper")
        first = a_call()
        await core.recorder.append(intent(first))
        if ack == "replicated":
            assert len(await core.sharing.index.get(first.audit_id)) == 1, "there when it counts"
        server.kill()
        await level(core, away)
        assert metrics.registry.get_sample_value("kubewitness_database_up") == 0
        if ack == "replicated":
            with pytest.raises(JournalUnavailableError):
                _ = core.recorder.append(intent(a_call()))
            core.recorder.post(outcome(first))
        else:
            await core.recorder.append(outcome(first))
        server.start()
        await level(core, Level.OK)
        await core.recorder.append(intent(a_call()))
        await core.sharing.shipper.catch_up()
        events = await core.sharing.index.get(first.audit_id)
        assert [row.terminal for row in events] == [False, True]
        await cancel(running)
    found = await status(ready.url, count=True)
    assert [writer.gap for writer in found.writers] == [0]
    assert found.problem == ""
