"""The product's data plane in a process of its own, on a journal of real files.

Everything below the composition root is the product: JournalWriter, DataPlane, pool, TLS, uvloop.
Bugs are planted here by name, so that a rig can show that it would notice.
"""

import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from proxy.audit.gate import JOURNAL, Gate, Level
from proxy.audit.journal.storage import Storage
from proxy.audit.journal.writer import JournalWriter
from proxy.authn.suspicion import Suspicion
from proxy.clock import SystemClock
from proxy.gateway.listener import DataPlane
from proxy.metrics import Metrics
from proxy.settings import Settings
from tests.faults.scene import Scene


@dataclass
class Serving:
    """A running data plane."""

    plane: DataPlane
    journal: JournalWriter
    metrics: Metrics
    address: tuple[str, int]


@contextlib.asynccontextmanager
async def serving(
    scene: Scene,
    settings: Settings,
    api_port: int,
    sock: socket.socket,
    *,
    storage: Storage | None = None,
    context: Any = None,
) -> AsyncIterator[Serving]:
    """Open the journal and serve on `sock`; drains and closes at the end."""
    clock, metrics = SystemClock(), Metrics()
    context = context or scene.proxy_context()
    targets = {"prod": scene.target(api_port)}
    snapshot = scene.snapshot()
    journal = await JournalWriter.open(
        scene.data_dir, "0", settings.journal, clock=clock, metrics=metrics, storage=storage
    )
    gate = Gate(clock=clock, metrics=metrics)
    gate.attach(journal.post)
    journal.on_state(lambda level, cause: gate.report(JOURNAL, Level(level), cause))
    try:
        plane = DataPlane(
            settings=settings,
            clock=clock,
            metrics=metrics,
            journal=journal,
            gate=gate,
            snapshot=lambda: snapshot,
            target=targets.get,
            suspicion=Suspicion(settings.suspicious, clock=clock, metrics=metrics),
            server_context=lambda: context,
        )
        address = await plane.start(sock)
        try:
            yield Serving(plane, journal, metrics, address)
        finally:
            await plane.drain(1)
    finally:
        gate.close()
        await journal.close()
