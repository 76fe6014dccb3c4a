"""Hung database rig: with `audit.ack: replicated`, PostgreSQL takes what it is sent and says nothing.

What holds of a hung disk must hold here (tests.faults.hung): nobody waits past the deadline, the
loop runs on, nothing grows, it heals. Two ways to hang it: a network that swallows everything, and
SIGSTOP to every process of the server, whose kernel still takes connections.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

from proxy.audit.index.postgresql.upgrade import upgrading
from tests.faults.fault_proxy import FaultProxy, Mode
from tests.faults.hung import Hanging, blackhole
from tests.faults.report import Report
from tests.faults.rigging import Rig, rig
from tests.postgres import Postgres

_LOGIN: Final = "kw_hung"
CI: Final = 5.0
RELEASE: Final = 600.0
STOPPED: Final = 30.0
"""Seconds of a stopped server at release size."""


def run(seconds: float = CI, seed: int = 1, bug: str = "") -> Report:
    """The network swallows everything for so long."""
    report = Report("hung database", seed)
    with rig(report) as here, Postgres() as server, _network(server) as (network, call):
        hanging = Hanging(
            "database",
            lambda: call(network.set_mode(Mode.BLACKHOLE)),
            lambda: call(network.set_mode(Mode.PASS)),
        )
        _hang(here, report, seconds, network.url(_prepared(server)), hanging, bug)
    return report


def run_stopped(seconds: float = CI, seed: int = 1, bug: str = "") -> Report:
    """Every process of the server is stopped for so long."""
    report = Report("stopped database", seed)
    with rig(report) as here, Postgres() as server:
        hanging = Hanging(
            "database",
            lambda: _signal(server, signal.SIGSTOP),
            lambda: _signal(server, signal.SIGCONT),
        )
        try:
            _hang(here, report, seconds, _prepared(server), hanging, bug)
        finally:
            _signal(server, signal.SIGCONT)
    return report


def _hang(here: Rig, report: Report, seconds: float, url: str, hanging: Hanging, bug: str) -> None:
    proxy = here.proxy()
    proxy.go(
        settings={
            "journal": {"reserve_bytes": 0},
            "database": url,
            "audit": {"ack": "replicated"},
        },
        bug=bug,
    )
    blackhole(here, proxy, report, seconds, hanging)


def _prepared(server: Postgres) -> str:
    """A database with an index of ours; its URL for a proxy."""
    database = server.create_database()
    server.exec(f"CREATE ROLE {_LOGIN} LOGIN PASSWORD 'pw'")

    async def upgrade() -> None:
        async with upgrading(database.url, [_LOGIN], lambda _: None):
            pass

    asyncio.run(upgrade())
    return database.login(_LOGIN, "pw")


def _signal(server: Postgres, number: signal.Signals) -> None:
    """To the postmaster first, so that it starts no child in between; then to its children."""
    os.kill(server.pid, number)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), number)


@contextlib.contextmanager
def _network(
    server: Postgres,
) -> Iterator[tuple[FaultProxy, Callable[[Coroutine[Any, Any, None]], None]]]:
    """A fault proxy on a loop of its own, and what runs something there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def call(work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(30)

    network = FaultProxy(server.port)
    try:
        call(network.__aenter__())
        yield network, call
        call(network.__aexit__())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


if __name__ == "__main__":
    print(run(float(sys.argv[1]) if len(sys.argv) > 1 else CI))
    print(run_stopped(float(sys.argv[1]) if len(sys.argv) > 1 else CI))
