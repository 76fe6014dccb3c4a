"""The checks of a running proxy, each made to fail."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.audit.gate import Level
from proxy.audit.index.indexer import Indexer
from proxy.audit.index.sqlite import SqliteIndex
from proxy.clock import ManualClock, SystemClock
from proxy.control.health import Check, Trouble
from proxy.metrics import Metrics
from proxy.runtime.core import MAIN_SLOT, Core, open_core
from proxy.runtime.monitoring import audit_trouble, checks, shared_registry
from proxy.runtime.process import Stop
from proxy.settings import Settings

Parts = tuple[Core, ManualClock, Stop, list[str], list[tuple[Level, str]], dict[str, Check]]


@pytest.fixture
async def parts(settings: Settings, tmp_path: Path) -> AsyncIterator[Parts]:
    clock = ManualClock(SystemClock().now())
    index = await SqliteIndex.open(tmp_path / "index.db")
    async with open_core(settings, clock, Metrics(), slot=MAIN_SLOT, main=True) as core:
        indexer = Indexer(core.data.journal, index, clock=clock, metrics=Metrics())
        stop = Stop()
        plane: list[str] = [""]
        workers: list[tuple[Level, str]] = [(Level.OK, "")]
        found = checks(core, indexer, stop, Check("data-plane", lambda: plane[0]), lambda: workers)
        yield core, clock, stop, plane, workers, {check.name: check for check in found}
    await index.close()


@pytest.mark.parametrize(
    ("trouble", "failing"),
    [
        (None, set()),
        ("stop", {"shutdown"}),
        ("gate", {"audit"}),
        ("low", {"audit"}),
        ("worker", {"audit"}),
        ("journal", {"journal"}),
        ("plane", {"data-plane"}),
        ("hour", {"state", "index"}),
        ("year", {"state", "index", "certificate"}),
    ],
)
async def test_each_check_fails_for_its_own_reason(
    parts: Parts, trouble: str | None, failing: set[str]
) -> None:
    core, clock, stop, plane, workers, found = parts
    match trouble:
        case "stop":
            stop.ask("test")
        case "gate":
            core.gate.report("journal", Level.CLOSED, "disk full")
        case "low":
            core.gate.report("space", Level.DEGRADED, "4 % free")
        case "worker":
            workers.append((Level.CLOSED, "worker-1: disk full"))
        case "journal":
            await core.journal.close()
        case "plane":
            plane[0] = "worker-1 is starting"
        case "hour":
            await core.watcher.close()
            clock.advance(3600)
        case "year":
            await core.watcher.close()
            clock.advance(366 * 86_400)
        case _:
            assert trouble is None
    failures = {name for name, check in found.items() if await check.trouble()}
    assert failures == failing


def test_only_the_index_is_not_vital(parts: Parts) -> None:
    found = parts[-1]
    assert {name for name, check in found.items() if not check.vital} == {"index"}


@pytest.mark.parametrize(
    ("states", "trouble"),
    [
        ([(Level.OK, "")], Trouble("", vital=False, state="ok")),
        ([(Level.DEGRADED, "4 %")], Trouble("4 %", vital=False, state="degraded")),
        (
            [(Level.DEGRADED, "4 %"), (Level.CLOSED, "worker-1: full"), (Level.OK, "")],
            Trouble("worker-1: full", vital=True, state="closed"),
        ),
        (
            [(Level.CLOSED, "a"), (Level.CLOSED, "b"), (Level.CLOSED, "a")],
            Trouble("a; b", vital=True, state="closed"),
        ),
    ],
)
def test_the_worst_process_counts(states: list[tuple[Level, str]], trouble: Trouble) -> None:
    assert audit_trouble(states) == trouble


def test_the_shared_page_says_which_version_runs(tmp_path: Path) -> None:
    from proxy import __version__

    registry = shared_registry(tmp_path)
    assert registry.get_sample_value("kubewitness_build_info", {"version": __version__}) == 1
