"""Acts of ours: recorded before and after, or not done at all."""

import asyncio
import json
from pathlib import Path

import pytest

from proxy.audit.acts import Actor, into
from proxy.audit.event import SystemEvent
from proxy.audit.journal.writer import JournalWriter
from proxy.errors import DeniedError, NotFoundError, UnavailableError
from proxy.settings import Journal
from tests.audit.written import Written


async def test_intent_and_outcome_are_one_act_with_who_and_what() -> None:
    written = Written()
    acts = written.acts(actor=Actor("os:root", {"via": "cli (local)", "uid": 0}))
    async with acts.act("index.rebuild", "index.db", {"reason": "damaged"}) as told:
        assert written.told == [("index.rebuild", "index.db", "requested")]
        told["records"] = 7
    intent, outcome = written.events
    assert (outcome.outcome, outcome.actor, outcome.event_id) == ("ok", "os:root", intent.event_id)
    assert intent.detail == {"via": "cli (local)", "uid": 0, "reason": "damaged"}
    assert outcome.detail == intent.detail | {"records": 7}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotFoundError("There is none.", hint="Look."), "failed: There is none."),
        (DeniedError("You may not."), "denied: You may not."),
        (ValueError("the password is hunter2"), "failed: internal error"),
        (asyncio.CancelledError(), "failed: interrupted"),
    ],
)
async def test_what_fails_says_why_and_is_raised(error: BaseException, outcome: str) -> None:
    written = Written()
    with pytest.raises(type(error)) as found:
        async with written.acts().act("state.move", "data"):
            raise error
    assert found.value is error
    assert [item.outcome for item in written.events] == ["requested", outcome]


async def test_what_cannot_be_recorded_is_not_done() -> None:
    written, done = Written(), []
    written.full = True
    with pytest.raises(UnavailableError):
        async with written.acts().act("state.move", "data"):
            done.append(1)
    assert (done, written.events) == ([], [])


async def test_the_error_of_the_act_comes_before_the_records() -> None:
    written = Written()

    async def fail() -> None:
        async with written.acts().act("state.move", "data"):
            written.full = True
            raise NotFoundError("There is none.")

    with pytest.raises(NotFoundError):
        await fail()
    assert [item.outcome for item in written.events] == ["requested"]


async def test_into_a_journal_they_are_durable(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    journal = await JournalWriter.open(tmp_path, "main", Journal())
    await into(journal)(SystemEvent("id", "2027-01-01T00:00:00.000000Z", "journal.open"))
    lines = b"".join(path.read_bytes() for path in tmp_path.rglob("*.jsonl")).splitlines()
    assert any(json.loads(line).get("auditID") == "id" for line in lines if line[:1] == b"{")
    await journal.close()
