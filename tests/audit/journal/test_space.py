"""The space of a volume: what df says, when it is told, and what the gate makes of it."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.audit.gate import Gate, Level
from proxy.audit.journal import space
from proxy.audit.journal.space import Room, Space, room, step_of
from proxy.clock import ManualClock
from proxy.metrics import Metrics

GIB = 1 << 30
HERE = Path("/journal")


def volume(
    *,
    blocks: int = 1000,
    free: int = 500,
    available: int | None = None,
    files: int = 0,
    left: int = 0,
) -> os.statvfs_result:
    """A volume of `blocks` MiB, with `files` inodes of which `left` are free."""
    size = 1 << 20
    usable = free if available is None else available
    return os.statvfs_result((size, size, blocks, free, usable, files, left, left, 0, 255))


@pytest.mark.parametrize(
    ("found", "ratio", "of"),
    [
        (volume(free=500), 0.5, "space"),
        (volume(free=0), 0.0, "space"),
        (volume(free=100, available=50), 50 / 950, "space"),
        (volume(free=500, files=100, left=10), 0.1, "inodes"),
        (volume(free=100, files=100, left=50), 0.1, "space"),
        (volume(free=500, files=0), 0.5, "space"),
        (volume(blocks=0, free=0), 1.0, "space"),
    ],
)
def test_what_is_free(found: os.statvfs_result, ratio: float, of: str) -> None:
    assert room(found).ratio == pytest.approx(ratio)
    assert room(found).of == of


def test_this_machine_has_some() -> None:
    found = room(os.statvfs("/"))
    assert 0 <= found.ratio <= 1
    assert found.free >= 0


@pytest.mark.parametrize(
    ("free", "words"),
    [(3 * GIB, "3.0 GiB"), (5 << 20, "5.0 MiB"), (4096, "4 KiB")],
)
def test_in_words(free: int, words: str) -> None:
    assert Room(free, 0.042, "space").words == f"4.2 % of the space free ({words} left)"


@pytest.mark.parametrize(
    ("ratio", "former", "step"),
    [
        (0.50, 0, 0), (0.20, 0, 0), (0.199, 0, 1), (0.099, 0, 2), (0.049, 0, 3), (0.0, 0, 3),
        (0.205, 1, 1), (0.211, 1, 0), (0.105, 2, 2), (0.111, 2, 1), (0.055, 3, 3), (0.061, 3, 2),
        (0.105, 3, 2), (0.50, 3, 0), (0.205, 3, 1), (0.03, 1, 3),
    ],
)  # fmt: skip
def test_a_step_is_left_only_well_above_it(ratio: float, former: int, step: int) -> None:
    assert step_of(ratio, former) == step


class Scene:
    """A gate, a volume that can be set, and what was recorded."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.metrics = Metrics()
        self.gate = Gate(clock=ManualClock(), metrics=self.metrics)
        self.gate.attach(lambda body: self.events.append(json.loads(b"{" + body + b"}")))
        self.answer: Callable[[], os.statvfs_result] = volume
        self.looks = 0
        self.space = Space(
            HERE, self.gate, clock=ManualClock(), metrics=self.metrics, statvfs=self._statvfs
        )

    def _statvfs(self, path: Path) -> os.statvfs_result:
        assert path == HERE
        self.looks += 1
        return self.answer()

    async def at(self, free: int) -> None:
        self.answer = lambda: volume(free=free)
        await self.space.look()

    def warned(self) -> list[tuple[object, object]]:
        details = [e["detail"] for e in self.events if e["action"] == "journal.space"]
        return [(d["crossed"], d["threshold"]) for d in details]


async def test_each_crossing_is_told_once() -> None:
    scene = Scene()
    for free in (500, 190, 180, 205, 190, 90, 40, 30, 52, 40, 65, 65, 115, 500):
        await scene.at(free)
    assert scene.warned() == [
        ("down", "0.20"),
        ("down", "0.10"),
        ("down", "0.05"),
        ("up", "0.05"),
        ("up", "0.10"),
        ("up", "0.20"),
    ]


async def test_a_volume_that_fills_at_once_is_told_of_once() -> None:
    scene = Scene()
    await scene.at(0)
    assert scene.warned() == [("down", "0.05")]
    (event,) = [event for event in scene.events if event["action"] == "journal.space"]
    assert (event["outcome"], event["target"]) == ("low", str(HERE))
    assert event["detail"] == {
        "freeBytes": 0,
        "freeRatio": "0.0000",
        "of": "space",
        "threshold": "0.05",
        "crossed": "down",
    }


@pytest.mark.parametrize(
    ("free", "level"),
    [(500, Level.OK), (190, Level.OK), (60, Level.OK), (49, Level.DEGRADED), (0, Level.DEGRADED)],
)
async def test_the_gate_is_degraded_below_the_last_step(free: int, level: Level) -> None:
    scene = Scene()
    await scene.at(free)
    assert scene.gate.level is level
    assert scene.metrics.registry.get_sample_value("kubewitness_journal_free_ratio") == free / 1000
    await scene.at(500)
    assert scene.gate.level is Level.OK


async def test_a_volume_that_cannot_be_read_is_degraded() -> None:
    scene = Scene()

    def away() -> os.statvfs_result:
        raise OSError(5, "Input/output error")

    scene.answer = away
    await scene.space.look()
    cause = "the space of /journal cannot be read: Input/output error"
    assert (scene.gate.level, scene.gate.cause) == (Level.DEGRADED, cause)
    await scene.at(500)
    assert scene.gate.level is Level.OK


async def test_it_looks_when_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "INTERVAL", 3600.0)
    scene = Scene()
    await scene.space.start()
    scene.answer = lambda: volume(free=10)
    scene.space.wake()
    async with asyncio.timeout(5):
        while scene.gate.level is Level.OK:
            await asyncio.sleep(0.001)
    await scene.space.close()
    assert scene.looks == 2


async def test_it_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "INTERVAL", 0.001)
    scene = Scene()
    await scene.space.start()
    async with asyncio.timeout(5):
        while scene.looks < 5:
            await asyncio.sleep(0.001)
    await scene.space.close()
