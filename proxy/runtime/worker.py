"""One worker process: a data plane and nothing else; `proxy.runtime.supervisor` is its parent."""

import asyncio
import contextlib
import json
import os
import sys
from typing import Final

from proxy import logs
from proxy.clock import SystemClock
from proxy.errors import UnavailableError
from proxy.gateway.listener import DataPlane
from proxy.metrics import Metrics
from proxy.runtime.core import Core, open_core
from proxy.runtime.essential import Essentials
from proxy.runtime.patience import Patience, StoppedError
from proxy.runtime.process import Stop, prepare
from proxy.settings import Settings
from proxy.tasks import cancel, spawn

REPORT_INTERVAL: Final = 1.0
"""Seconds between reports to the parent."""

LONGEST: Final = 500
"""Characters of one cause: a pipe takes a line of a few KiB whole or not at all."""


async def work(slot: str, settings: Settings) -> None:
    """Serve calls until asked to stop, or until the parent is gone."""
    logs.configure(settings.log.level, settings.log.format)
    prepare()
    stop = Stop()
    stop.on_signals()
    looks = asyncio.Event()
    os.set_blocking(sys.stdout.fileno(), False)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _parent_says, stop, looks)
    metrics = Metrics()
    clock = SystemClock()
    with contextlib.suppress(StoppedError):
        async with open_core(
            settings,
            clock,
            metrics,
            slot=slot,
            main=False,
            patience=Patience(stop, clock, lambda cause: _tell({"waiting": cause[:LONGEST]})),
        ) as core:
            await _serve(core, stop, looks)


async def _serve(core: Core, stop: Stop, looks: asyncio.Event) -> None:
    plane = core.data_plane()
    await plane.start()
    essentials = Essentials()
    essentials.start(plane.failed(), "data plane")
    essentials.start(core.identity.watch(lambda: None), "certificates")
    if core.sharing is not None:
        essentials.start(core.sharing.shipper.run(), "shipper")
    essentials.start(_report(core, looks), "reports to the parent")
    try:
        await essentials.wait(stop.asked)
    finally:
        await drain(plane, core.settings.drain_timeout, stop)
        await essentials.stop()


async def drain(plane: DataPlane, timeout: float, stop: Stop) -> None:
    """Drain for `timeout` seconds, or until `stop.now`."""
    polite = spawn(plane.drain(timeout), name="drain")
    cut = spawn(stop.now.wait(), name="wait to cut")
    await asyncio.wait({polite, cut}, return_when=asyncio.FIRST_COMPLETED)
    if not polite.done():
        await cancel(polite)
        await plane.drain(0)
    await cancel(cut)


async def _report(core: Core, looks: asyncio.Event) -> None:
    core.gate.listen(lambda change: _say(core))
    while True:
        _say(core)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPORT_INTERVAL):
                await looks.wait()
        if looks.is_set():
            looks.clear()
            with contextlib.suppress(UnavailableError):  # reported as trouble when it lasts
                await core.watcher.refresh()
            await core.settled()


def _say(core: Core) -> None:
    """One line to the parent: every second, and at once when the audit state changes."""
    said: dict[str, str | int] = {
        "trouble": core.trouble()[:LONGEST],
        "version": core.watcher.current.version,
        "level": core.gate.level.word,
        "cause": core.gate.cause[:LONGEST],
    }
    _tell(said)


def _tell(said: dict[str, str | int]) -> None:
    # A parent that does not read must not stop us; one that is gone shows at stdin.
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(sys.stdout.fileno(), json.dumps(said).encode() + b"\n")


def _parent_says(stop: Stop, looks: asyncio.Event) -> None:
    if os.read(sys.stdin.fileno(), 4096):
        looks.set()
    else:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        # At once: whoever starts the proxy again needs our journal slot and our port.
        stop.ask("the parent process ended")
        stop.now.set()
