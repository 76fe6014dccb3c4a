"""Refusals without a credential: so many one by one, and of the others one sum, in virtual time."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.strangers import INTERVAL, SOURCES, TOLD, Strangers
from proxy.clock import ManualClock
from proxy.metrics import Metrics
from tests.gateway.world import MemoryJournal

SCANNER, ROBOT = "203.0.113.7", "198.51.100.20"


class Door:
    """A budget of 6 a minute, and what it recorded."""

    def __init__(self, per_minute: int = 6) -> None:
        self.clock, self.metrics, self.journal = ManualClock(), Metrics(), MemoryJournal()
        self.strangers = Strangers(
            "data", self.journal, self.clock, self.metrics, per_minute=per_minute
        )

    def refuse(self, source: str, times: int = 1, reason: str = "no-certificate") -> int:
        """How many of so many are recorded one by one."""
        return sum(self.strangers.admits(source, reason) for _ in range(times))

    async def after(self, seconds: float) -> list[dict[str, Any]]:
        """The sums on record after a while."""
        self.clock.advance(seconds)
        await asyncio.sleep(seconds)
        return self.sums()

    def sums(self) -> list[dict[str, Any]]:
        self.journal.sync()
        return self.journal.lines

    def summed(self) -> float | None:
        return self.metrics.registry.get_sample_value(
            "kubewitness_refusals_summed_total", {"listener": "data"}
        )


async def test_a_flood_is_one_record_and_nothing_of_it_is_lost() -> None:
    door = Door()
    assert door.refuse(SCANNER, 1000) == 6
    assert door.refuse(ROBOT, 2, "revoked") == 2, "who did not flood has a budget of their own"
    assert door.sums() == []
    assert door.summed() == 994
    door.strangers.close()
    (event,) = door.sums()
    assert (event["kind"], event["action"], event["target"]) == (
        "SystemEvent",
        "refusals.sum",
        "data",
    )
    assert event["sourceIPs"] == [SCANNER]
    assert event["detail"]["count"] == 994
    assert event["detail"]["reasons"] == {"no-certificate": 994}
    assert event["detail"]["sources"] == {SCANNER: 994}
    assert event["detail"]["others"] == 0


@pytest.mark.looptime
async def test_a_sum_comes_in_time_and_says_from_when_to_when() -> None:
    door = Door()
    door.refuse(SCANNER, 7)
    assert await door.after(INTERVAL - 1) == []
    door.refuse(SCANNER, 20)
    (event,) = await door.after(2)
    assert event["detail"]["first"] == "2027-01-15T08:00:00.000000Z"
    assert event["detail"]["last"] == "2027-01-15T08:00:29.000000Z"
    assert len(await door.after(10 * INTERVAL)) == 1, "nothing more to say"
    door.refuse(SCANNER, 20)
    assert len(await door.after(INTERVAL)) == 2, "and again"


async def test_a_budget_comes_back_with_time() -> None:
    door = Door()
    door.refuse(SCANNER, 100)
    door.clock.advance(10)
    assert door.refuse(SCANNER, 100) == 1
    door.clock.advance(3600)
    assert door.refuse(SCANNER, 100) == 6
    door.strangers.close()


async def test_many_addresses_are_one_crowd() -> None:
    door = Door()
    many = [f"10.{high}.{low}.1" for high in range(100) for low in range(100)]
    assert sum(door.refuse(source, 2) for source in many) == 6 * SOURCES
    door.strangers.close()
    (event,) = door.sums()
    assert event["detail"]["count"] == 2 * len(many) - 6 * SOURCES
    assert len(event["detail"]["sources"]) == TOLD
    assert len(event["sourceIPs"]) == TOLD
    named = sum(event["detail"]["sources"].values())
    assert named + event["detail"]["others"] == event["detail"]["count"]


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
        ("203.0.113.7", "203.0.113.8", False),
        ("", "", True),
    ],
)
async def test_whose_budget_it_is(one: str, another: str, same: bool) -> None:
    door = Door()
    door.refuse(one, 6)
    assert door.refuse(another) == (not same)
    door.strangers.close()


@pytest.mark.looptime
async def test_a_sum_that_cannot_be_recorded_is_kept_until_it_can() -> None:
    door = Door()
    door.journal.failure = "the disk is full"
    door.refuse(SCANNER, 10)
    assert await door.after(3 * INTERVAL + 1) == []
    door.refuse(ROBOT, 8)
    door.journal.failure = ""
    (event,) = await door.after(INTERVAL)
    assert event["detail"]["sources"] == {SCANNER: 4, ROBOT: 2}


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([SCANNER, ROBOT, "2001:db8::1"]), st.integers(1, 30), st.floats(0, 90)
        ),
        max_size=30,
    )
)
def test_each_is_recorded_or_counted_and_never_both(steps: list[tuple[str, int, float]]) -> None:
    async def run() -> None:
        door = Door()
        asked = recorded = 0
        for source, times, seconds in steps:
            recorded += door.refuse(source, times)
            asked += times
            door.clock.advance(seconds)
        door.strangers.close()
        assert recorded + sum(event["detail"]["count"] for event in door.sums()) == asked

    asyncio.run(run())
