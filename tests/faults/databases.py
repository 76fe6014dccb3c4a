"""The databases beside a rig's journal: embedded state and index, or one that replicas share.

The product's own, put together as `serve` does. The embedded ones do nothing by themselves here,
only when told to (`Embedded.level`): so that each run does the same in the same order.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import msgspec

from proxy.audit.gate import Gate
from proxy.audit.index.indexer import Indexer
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import Journal
from proxy.authn.keeping import Keeper
from proxy.authn.suspicion import Suspicion
from proxy.clock import Clock, SystemClock
from proxy.data_dir import DataDir
from proxy.errors import KubewitnessError
from proxy.metrics import Metrics
from proxy.runtime.sharing import Sharing
from proxy.settings import Settings
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.watcher import SnapshotWatcher
from proxy.tasks import cancel, spawn
from tests.faults.oracle import Violations
from tests.faults.scene import Scene

_NEVER: Final = 3600.0
_KEY: Final = bytes(32)


@dataclass(frozen=True)
class Embedded:
    """What `serve` has without a database server."""

    watcher: SnapshotWatcher
    suspicion: Suspicion
    keeper: Keeper
    indexer: Indexer

    async def level(self) -> None:
        """Index what is durable, keep what was seen, read the state anew; as far as it goes.

        What fails is tried again by the product, and so it is here: next time.
        """
        for step in (self.indexer.catch_up, self.keeper.level, self.watcher.refresh):
            with contextlib.suppress(KubewitnessError, OSError):
                await step()


async def _store(scene: Scene) -> StateStore:
    url = sqlite_url(DataDir(scene.data_dir).state_database)
    return await StateStore.open(url, SecretBox(_KEY), clock=SystemClock())


async def seed(scene: Scene) -> None:
    """Put what the scene made up, users' credentials and the cluster, into the state's database."""
    store = await _store(scene)
    try:
        await store.add_cluster("prod", server="https://127.0.0.1", kubeconfig=b"{}")
        now = SystemClock.now()  # a credential is not for clusters that are younger
        for credential in scene.snapshot().credentials.values():
            await store.record_credential(msgspec.structs.replace(credential, issued_at=now))
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def embedded_databases(
    scene: Scene, settings: Settings, clock: Clock, metrics: Metrics
) -> AsyncIterator[Embedded]:
    """Open both; what is left is written at the end. Raises KubewitnessError."""
    data = DataDir(scene.data_dir)
    async with contextlib.AsyncExitStack() as stack:
        store = await _store(scene)
        stack.push_async_callback(store.close)
        watcher = SnapshotWatcher(store, clock=clock, interval=_NEVER)
        await watcher.refresh()
        suspicion = Suspicion(settings.suspicious, clock=clock, metrics=metrics)
        index = await SqliteIndex.open(data.index_database)
        stack.push_async_callback(index.close)
        made = Embedded(
            watcher,
            suspicion,
            Keeper(suspicion, store.sightings, clock=clock),
            Indexer(data.journal, index, clock=clock, metrics=metrics),
        )
        stack.push_async_callback(made.level)
        yield made


@contextlib.asynccontextmanager
async def replicated(
    scene: Scene,
    settings: Settings,
    journal: JournalWriter,
    gate: Gate,
    clock: Clock,
    metrics: Metrics,
) -> AsyncIterator[Journal]:
    """Ship the journal to `settings.database`; what calls are recorded with."""
    sharing = Sharing(
        settings,
        scene.data_dir / "journal",
        "0",
        journal,
        gate,
        clock=clock,
        metrics=metrics,
        carries=lambda slot: slot == "0",
    )
    await sharing.require()
    shipping = spawn(sharing.shipper.run(), name="shipper")
    try:
        yield sharing.recorder
    finally:
        await cancel(shipping)
        gate.close()
        await journal.close()
        await sharing.close()


def compare(scene: Scene, records: int, say: Violations) -> None:
    """After a proxy ended in good order: both databases are whole, and the index has it all."""
    data = DataDir(scene.data_dir)
    for path in (data.state_database, data.index_database):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if found != "ok":
                say.say(f"{path.name}: {found}")
            if path != data.index_database:
                continue
            rows, last = connection.execute("SELECT count(*), max(seq) FROM events").fetchone()
            if (rows, last) != (records, records):
                say.say(f"the index has {rows} records up to {last} of {records}")


def seeded(scene: Scene) -> None:
    """As `seed`, for a rig that has no loop."""
    asyncio.run(seed(scene))
