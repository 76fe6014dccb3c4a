"""The gate: one state out of several reports, told without storms and never lost."""

import asyncio
import json
from typing import Any

import pytest

from proxy.audit.gate import BURST, REFILL, Change, Gate, Level
from proxy.audit.port import JournalUnavailableError
from proxy.clock import ManualClock
from proxy.metrics import Metrics

OK, DEGRADED, CLOSED = Level


class Disk:
    """Takes events, or not."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.full = False

    def post(self, body: bytes) -> None:
        if self.full:
            raise JournalUnavailableError("no room")
        self.events.append(json.loads(b"{" + body + b"}"))

    def states(self) -> list[tuple[object, object]]:
        details = [event["detail"] for event in self.events]
        assert all(isinstance(detail, dict) for detail in details)
        return [(detail["from"], detail["to"]) for detail in details]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def gate(clock: ManualClock, disk: Disk, metrics: Metrics) -> Gate:
    gate = Gate(clock=clock, metrics=metrics)
    gate.attach(disk.post)
    return gate


@pytest.mark.parametrize(
    ("reports", "level", "cause", "failure"),
    [
        ([], OK, "", ""),
        ([("space", DEGRADED, "4 % free")], DEGRADED, "4 % free", ""),
        ([("journal", CLOSED, "full")], CLOSED, "full", "full"),
        ([("journal", CLOSED, "")], CLOSED, "journal is closed", "journal is closed"),
        ([("space", DEGRADED, "4 %"), ("journal", CLOSED, "full")], CLOSED, "full", "full"),
        (
            [("journal", CLOSED, "full"), ("database", CLOSED, "away")],
            CLOSED,
            "full; away",
            "full; away",
        ),
        ([("journal", CLOSED, "full"), ("journal", OK, "")], OK, "", ""),
        ([("space", DEGRADED, "4 %"), ("database", OK, "")], DEGRADED, "4 %", ""),
        (
            [("space", DEGRADED, "4 %"), ("journal", CLOSED, "full"), ("journal", OK, "")],
            DEGRADED,
            "4 %",
            "",
        ),
        ([("space", DEGRADED, "4 %"), ("space", DEGRADED, "3 %")], DEGRADED, "3 %", ""),
    ],
)
async def test_the_worst_report_counts(
    gate: Gate,
    metrics: Metrics,
    reports: list[tuple[str, Level, str]],
    level: Level,
    cause: str,
    failure: str,
) -> None:
    for report in reports:
        gate.report(*report)
    assert (gate.level, gate.cause, gate.failure) == (level, cause, failure)
    assert metrics.registry.get_sample_value("kubewitness_audit_state") == level


async def test_each_change_is_recorded_with_what_the_former_state_lasted(
    gate: Gate, clock: ManualClock, disk: Disk
) -> None:
    clock.advance(100)
    gate.report("journal", CLOSED, "disk full")
    gate.report("journal", CLOSED, "disk full")
    clock.advance(2.5)
    gate.report("journal", OK)
    assert [(event["action"], event["outcome"], event["detail"]) for event in disk.events] == [
        (
            "audit.state",
            "closed",
            {
                "from": "ok",
                "to": "closed",
                "cause": "disk full",
                "source": "journal",
                "seconds": "100.000",
            },
        ),
        (
            "audit.state",
            "ok",
            {
                "from": "closed",
                "to": "ok",
                "cause": "disk full",
                "source": "journal",
                "seconds": "2.500",
            },
        ),
    ]


async def test_listeners_hear_every_change_at_once(gate: Gate) -> None:
    heard: list[Change] = []
    gate.listen(heard.append)
    for _ in range(50):
        gate.report("database", CLOSED, "away")
        gate.report("database", OK)
    gate.close()
    assert [change.level for change in heard] == [CLOSED, OK] * 50


async def test_a_source_that_flaps_is_summed_up(gate: Gate, clock: ManualClock, disk: Disk) -> None:
    for _ in range(1000):
        gate.report("database", DEGRADED, "away")
        clock.advance(0.001)
        gate.report("database", OK)
        clock.advance(0.001)
    assert len(disk.events) == BURST
    gate.close()
    last = disk.events[-1]["detail"]
    assert isinstance(last, dict)
    assert (last["changes"], last["seconds"]) == (2000 - BURST, "1.994")
    assert (last["from"], last["to"], last["cause"]) == ("ok", "ok", "away")


async def test_after_a_quiet_time_changes_are_recorded_one_by_one_again(
    gate: Gate, clock: ManualClock, disk: Disk
) -> None:
    for _ in range(BURST // 2):
        gate.report("database", DEGRADED, "away")
        gate.report("database", OK)
    clock.advance(BURST * REFILL)
    gate.report("journal", CLOSED, "full")
    gate.report("journal", OK)
    assert disk.states()[-2:] == [("ok", "closed"), ("closed", "ok")]


async def test_what_the_journal_has_no_room_for_is_recorded_when_it_has(
    gate: Gate, disk: Disk
) -> None:
    disk.full = True
    gate.report("journal", CLOSED, "the queue is full")
    gate.report("journal", OK)
    assert disk.events == []
    disk.full = False
    async with asyncio.timeout(5):
        while not disk.events:
            await asyncio.sleep(0.01)
    assert disk.states() == [("ok", "closed"), ("closed", "ok")]
    gate.close()


async def test_changes_before_there_is_a_journal_are_recorded_too(
    clock: ManualClock, disk: Disk, metrics: Metrics
) -> None:
    gate = Gate(clock=clock, metrics=metrics)
    gate.report("space", DEGRADED, "4 % free")
    gate.attach(disk.post)
    assert disk.states() == [("ok", "degraded")]
