"""A proxy on PostgreSQL: what it records is there, and what happens while the database is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.audit.gate import Gate, Level
from proxy.audit.index import shipping
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.query import Filter
from proxy.audit.index.rows import row
from proxy.audit.index.store import ForeignRecordsError, Position
from proxy.audit.journal.instance import writer_id
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import JournalUnavailableError
from proxy.clock import SystemClock
from proxy.errors import SettingsError
from proxy.metrics import Metrics
from proxy.runtime.comparing import What
from proxy.runtime.core import MAIN_SLOT, Core, open_core
from proxy.runtime.database import status
from proxy.runtime.local_acts import SLOT
from proxy.runtime.monitoring import audit_trouble
from proxy.runtime.rebuild import fill_and_compare
from proxy.runtime.sharing import SharedLooks, Sharing
from proxy.settings import Settings
from proxy.tasks import cancel, spawn
from tests.audit.index.postgresql.databases import Ready, ready_database
from tests.audit.journals import a_call, intent, outcome
from tests.audit.reading import records
from tests.postgres import Postgres
from tests.runtime.processes import initialised

STATE = "audit.state"
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
    own_environment: None, ready: Ready, server: Postgres, tmp_path: Path, ack: str, away: Level
) -> None:
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


@contextlib.asynccontextmanager
async def shared(
    settings: Settings, slot: str, metrics: Metrics
) -> AsyncIterator[tuple[Sharing, JournalWriter, Gate]]:
    """One process's side of the database, with a journal of its own; nothing runs yet."""
    data_dir, clock = settings.data_dir, SystemClock()
    journal = await JournalWriter.open(data_dir, slot, settings.journal, clock=clock)
    gate = Gate(clock=clock, metrics=metrics)
    sharing = Sharing(
        settings,
        data_dir / "journal",
        slot,
        journal,
        gate,
        clock=clock,
        metrics=metrics,
        carries=lambda found: found == slot,
    )
    try:
        yield sharing, journal, gate
    finally:
        await journal.close()
        await sharing.close()


@pytest.mark.parametrize(("ack", "away"), [("local", Level.DEGRADED), ("replicated", Level.CLOSED)])
async def test_a_start_requires_a_schema_and_no_more(
    own_environment: None, ready: Ready, server: Postgres, tmp_path: Path, ack: str, away: Level
) -> None:
    settings = on(ready, tmp_path, ack)
    metrics = Metrics()
    async with shared(settings, MAIN_SLOT, metrics) as (sharing, _, gate):
        await sharing.require()
        assert gate.level is Level.OK
        # What is not kept, or not there now, is said; it keeps nobody from starting.
        ready.database.exec("ALTER TABLE kubewitness.events_past SET UNLOGGED")
        await sharing.require()
        assert (gate.level, "UNLOGGED" in gate.cause) == (away, True)
        assert metrics.registry.get_sample_value("kubewitness_database_up") == 0
        server.kill()
        await sharing.require()
        assert (gate.level, "UNLOGGED" in gate.cause) == (away, False)
        server.start()
        # A schema that is not there, or older, is for an administrator.
        ready.database.exec("UPDATE kubewitness.index_schema SET version = version - 1")
        with pytest.raises(SettingsError, match="this release needs schema"):
            await sharing.require()
        ready.database.exec("DROP SCHEMA kubewitness CASCADE")
        with pytest.raises(SettingsError, match="no schema of ours"):
            await sharing.require()


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Ready]:
    """A database on the server that tests share: nothing happens to that one."""
    with ready_database(postgres) as made:
        yield made


async def falsify(site: Ready, writer: str) -> None:
    """What whoever has the login of `serve` can do: add a record behind those of `writer`."""
    thief = await PostgresIndex.open(site.url)
    try:
        line = b'{"seq":9000,"salt":"00",%b}' % intent(a_call())
        await thief.insert([row(writer, 9_000, line)], writer, Position("", 0, 9_000))
    finally:
        await thief.close()


@pytest.mark.parametrize("ack", ["local", "replicated"])
@pytest.mark.parametrize("slot", [SLOT, "worker-9"])
async def test_a_false_record_behind_a_slot_of_nobodys_calls_closes_nothing(
    own_environment: None, site: Ready, tmp_path: Path, ack: str, slot: str
) -> None:
    settings = on(site, tmp_path, ack)
    metrics = Metrics()
    writer = writer_id(settings.data_dir, slot)
    async with open_core(settings, SystemClock(), metrics, slot=MAIN_SLOT, main=True) as core:
        assert core.sharing is not None
        running = spawn(core.sharing.shipper.run(), name="shipper")
        await core.recorder.append(intent(a_call()))
        await falsify(site, writer)
        other = await JournalWriter.open(
            settings.data_dir, slot, settings.journal, clock=SystemClock()
        )
        await other.close()
        await level(core, Level.DEGRADED)
        said = f"the index holds other records of writer {writer} at sequence 9000"
        assert core.gate.cause.startswith(said)
        assert core.gate.cause.endswith(shipping.WAY_OUT)
        assert core.sharing.shipper.failure().startswith(said)
        trouble = audit_trouble([(core.gate.level, core.gate.cause)])
        assert (trouble.vital, trouble.state) == (False, "degraded")
        assert metrics.registry.get_sample_value("kubewitness_database_up") == 1
        # Calls go on, as fast as before, and the database has them.
        async with asyncio.timeout(4):
            calls = [a_call() for _ in range(20)]
            for call in calls:
                await core.recorder.append(intent(call))
        assert core.recorder.failure == core.trouble() == ""
        with pytest.raises(ForeignRecordsError):
            await core.sharing.shipper.catch_up()
        assert len(await core.sharing.index.get(calls[-1].audit_id)) == 1
        with pytest.raises(ForeignRecordsError):
            await SharedLooks(core.sharing, core.data.journal).catch_up()
        # Moved away: all is well again, and both changes are on record.
        (core.data.journal / slot).rename(tmp_path / "aside")
        await level(core, Level.OK)
        await cancel(running)
    events = [it for it in records(settings.data_dir, MAIN_SLOT) if it.get("action") == STATE]
    assert [(event["detail"]["to"], event["detail"]["source"]) for event in events] == [
        ("degraded", "carried"),
        ("ok", "carried"),
    ]
    assert all(event["detail"]["cause"].startswith(said) for event in events)
    assert float(events[1]["detail"]["seconds"]) > 0


@pytest.mark.parametrize(("ack", "away"), [("local", Level.DEGRADED), ("replicated", Level.CLOSED)])
@pytest.mark.parametrize("slot", [MAIN_SLOT, "worker-1"])
async def test_a_false_record_behind_the_slot_of_our_calls_leaves_replicated_no_way(
    own_environment: None, site: Ready, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    slot: str, ack: str, away: Level,
) -> None:  # fmt: skip
    monkeypatch.setattr(shipping, "ATTEST", 0.2)  # for a minute
    settings = on(site, tmp_path, ack)
    writer = writer_id(settings.data_dir, slot)
    async with shared(settings, slot, Metrics()) as (sharing, _, gate):
        running = spawn(sharing.shipper.run(), name="shipper")
        await sharing.recorder.append(intent(a_call()))
        await falsify(site, writer)
        async with asyncio.timeout(8):
            while gate.level is not away:
                await asyncio.sleep(0.01)
        said = f"the index holds other records of writer {writer} at sequence 9000"
        assert gate.cause.startswith(said)
        assert gate.cause.endswith(shipping.WAY_OUT)
        if ack == "replicated":
            with pytest.raises(JournalUnavailableError, match=said):
                _ = sharing.recorder.append(intent(a_call()))
        else:
            await sharing.recorder.append(intent(a_call()))
        await cancel(running)


async def test_a_new_writer_is_the_way_out_and_a_rebuild_adds_the_rest(
    own_environment: None, site: Ready, tmp_path: Path
) -> None:
    """As `docs/day-two.md` says."""
    settings = on(site, tmp_path, "replicated")
    data, former = settings.data_dir, writer_id(settings.data_dir, MAIN_SLOT)
    await falsify(site, former)
    async with shared(settings, MAIN_SLOT, Metrics()) as (sharing, journal, gate):
        running = spawn(sharing.shipper.run(), name="shipper")
        async with asyncio.timeout(8):
            while gate.level is not Level.CLOSED:
                await asyncio.sleep(0.01)
        await journal.append(intent(a_call()))
        await cancel(running)
    aside = tmp_path / "aside"
    aside.mkdir()
    (data / "journal").rename(aside / "journal")
    (data / "instance").rename(aside / "instance")
    async with shared(settings, MAIN_SLOT, Metrics()) as (sharing, _, gate):
        running = spawn(sharing.shipper.run(), name="shipper")
        await sharing.recorder.append(intent(a_call()))
        assert gate.level is Level.OK
        await cancel(running)
        await sharing.shipper.catch_up()
        places = [data / "journal", aside / "journal"]
        found = await fill_and_compare(sharing.index, places, lambda *_: None)
    wrong = [one for one in found.differences if one.what is not What.RESTORED]
    assert wrong == [(What.UNKNOWN, former, 9_000, ())]
    assert found.records >= 4


async def test_a_look_waits_for_the_workers_and_asks_seldom(
    own_environment: None, ready: Ready, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = on(ready, tmp_path, "local")
    async with (
        shared(settings, MAIN_SLOT, Metrics()) as (sharing, journal, _),
        shared(settings, "worker-1", Metrics()) as (other, others, _),
    ):
        looks = SharedLooks(sharing, settings.data_dir / "journal")
        await other.shipper.catch_up()
        await looks.catch_up()
        asked = 0
        sound = sharing.index.positions

        async def positions() -> dict[str, Position]:
            nonlocal asked
            asked += 1
            return await sound()

        monkeypatch.setattr(sharing.index, "positions", positions)
        await journal.append(intent(a_call()))
        await looks.catch_up()
        assert asked == 0, "what we shipped ourselves is known"
        call = a_call()
        await others.append(intent(call))
        looking = [spawn(looks.catch_up(), name="look") for _ in range(20)]
        done, _ = await asyncio.wait(looking, timeout=0.5)
        assert not done
        assert asked < 8
        await other.shipper.catch_up()
        await asyncio.gather(*looking)
        assert len(await sharing.index.get(call.audit_id)) == 1
