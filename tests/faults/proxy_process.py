"""The product's data plane in a process of its own, on a journal of real files.

Everything below the composition root is the product: JournalWriter, DataPlane, pool, TLS, uvloop;
and, where a rig is about them, the databases beside the journal.
Bugs are planted here by name, so that a rig can show that it would notice.
"""

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from proxy.audit.gate import JOURNAL, Gate, Level
from proxy.audit.journal.storage import Storage
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import Journal
from proxy.authn.suspicion import Suspicion
from proxy.clock import SystemClock
from proxy.gateway.listener import DataPlane
from proxy.metrics import Metrics
from proxy.settings import Settings
from proxy.state.snapshot import Snapshot
from tests.faults.databases import Embedded, embedded_databases, replicated
from tests.faults.scene import Scene


@dataclass
class Serving:
    """A running data plane."""

    plane: DataPlane
    journal: JournalWriter
    metrics: Metrics
    address: tuple[str, int]
    level: Callable[[], Awaitable[None]]
    """Brings the embedded databases level, where there are any."""


@contextlib.asynccontextmanager
async def serving(
    scene: Scene,
    settings: Settings,
    api_port: int,
    sock: socket.socket,
    *,
    storage: Storage | None = None,
    context: Any = None,
    embedded: bool = False,
) -> AsyncIterator[Serving]:
    """Open the journal and serve on `sock`; drains and closes at the end.

    `embedded`: who may do what comes from the state's database, and an index is filled. With
    `settings.database` records are shipped there.
    """
    clock, metrics = SystemClock(), Metrics()
    async with contextlib.AsyncExitStack() as stack:
        databases: Embedded | None = None
        if embedded:
            databases = await stack.enter_async_context(
                embedded_databases(scene, settings, clock, metrics)
            )
        journal = await JournalWriter.open(
            scene.data_dir, "0", settings.journal, clock=clock, metrics=metrics, storage=storage
        )
        stack.push_async_callback(journal.close)
        gate = Gate(clock=clock, metrics=metrics)
        gate.attach(journal.post)
        stack.callback(gate.close)
        journal.on_state(lambda level, cause: gate.report(JOURNAL, Level(level), cause))
        recorder: Journal = journal
        if settings.database:
            recorder = await stack.enter_async_context(
                replicated(scene, settings, journal, gate, clock, metrics)
            )
        plane = _plane(scene, settings, api_port, context, databases, recorder, gate, metrics)
        address = await plane.start(sock)
        stack.push_async_callback(plane.drain, 1)
        yield Serving(plane, journal, metrics, address, databases.level if databases else _nothing)


def _plane(
    scene: Scene,
    settings: Settings,
    api_port: int,
    context: Any,
    databases: Embedded | None,
    recorder: Journal,
    gate: Gate,
    metrics: Metrics,
) -> DataPlane:
    clock = SystemClock()
    context = context or scene.proxy_context()
    targets = {"prod": scene.target(api_port)}
    made_up = scene.snapshot()
    suspicion = Suspicion(settings.suspicious, clock=clock, metrics=metrics)

    def snapshot() -> Snapshot:
        return databases.watcher.current if databases is not None else made_up

    return DataPlane(
        settings=settings,
        clock=clock,
        metrics=metrics,
        journal=recorder,
        gate=gate,
        snapshot=snapshot,
        target=targets.get,
        suspicion=databases.suspicion if databases is not None else suspicion,
        server_context=lambda: context,
    )


async def _nothing() -> None:
    """There are no databases."""
