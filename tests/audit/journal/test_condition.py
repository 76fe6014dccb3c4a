"""A journal's condition: what listeners are told, and what the probe says."""

import json
from typing import Any

import pytest

from proxy.audit.journal.condition import Condition
from proxy.audit.journal.records import SegmentName
from proxy.audit.journal.rescue import Rescued
from proxy.clock import ManualClock
from proxy.metrics import Metrics


class Heard:
    """A condition and what it says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.condition = Condition(self.clock, self.metrics)
        self.told: list[tuple[int, str]] = []
        self.condition.listen(lambda level, cause: self.told.append((level, cause)))

    def probe(self, *rescued: Rescued) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(b"{%b}" % self.condition.probe(list(rescued)))
        return found


def test_each_change_is_told_once_and_the_worst_counts() -> None:
    heard = Heard()
    condition = heard.condition
    condition.no_reserve("no room")
    condition.no_reserve("no room")
    condition.trouble("a sync failed")
    condition.close("the disk is gone")
    condition.close("the disk is gone")
    assert heard.metrics.journal_ok._value.get() == 0
    condition.heal()
    condition.no_reserve("")
    assert heard.told == [
        (1, "no room"),
        (1, "a sync failed"),
        (2, "the disk is gone"),
        (1, "no room"),
        (0, ""),
    ]
    assert heard.metrics.journal_ok._value.get() == 1


def test_who_listens_late_hears_what_is_wrong() -> None:
    heard = Heard()
    heard.condition.close("full")
    late: list[int] = []
    heard.condition.listen(lambda level, _: late.append(level))
    assert late == [2]


@pytest.mark.parametrize("closed", [True, False])
def test_the_probe_says_what_was_first_and_how_long_it_took(closed: bool) -> None:
    heard = Heard()
    condition = heard.condition
    before = condition.ailing
    if closed:
        condition.close("deleted")
        heard.clock.advance(1.5)
        condition.close("No such file or directory")
    else:
        condition.trouble("deleted")
        heard.clock.advance(1.5)
        condition.trouble("again")
    heard.clock.step(-1e6)  # the wall clock says nothing of durations
    heard.clock.advance(0.75)
    assert (before, condition.ailing) == (False, True)
    event = heard.probe()
    assert event["action"] == "journal.heal"
    assert event["detail"] == {
        "from": "closed" if closed else "degraded",
        "cause": "deleted",
        "seconds": 2,
        "milliseconds": 2250,
    }
    condition.heal()
    assert not condition.ailing


def test_the_probe_says_what_was_saved_and_what_was_not() -> None:
    heard = Heard()
    heard.condition.close("deleted")
    first, second = SegmentName(1, 1), SegmentName(1, 2)
    event = heard.probe(
        Rescued(first, second, 100, 1, 7, "ab"),
        Rescued(second, second, 0, 8, 7, "", (8, 9)),
    )
    assert event["outcome"] == "records-missing"
    assert event["detail"]["missing"] == ["8-9"]
    assert event["detail"]["rescued"] == [
        "000001-000001.jsonl: records 1-7 saved in 000001-000002.jsonl",
        "000001-000002.jsonl: no record saved in 000001-000002.jsonl",
    ]
