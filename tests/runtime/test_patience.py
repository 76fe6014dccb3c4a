"""Waiting for a database at the start: how long, what is said, and what ends it."""

import asyncio

import pytest

from proxy.clock import ManualClock
from proxy.errors import SettingsError, UnavailableError
from proxy.runtime import patience
from proxy.runtime.patience import Patience, StoppedError
from proxy.runtime.process import Stop


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY", 0.001)


class Attempt:
    """Fails so many times, with one error."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.made = 0
        self._error = error or UnavailableError("no answer", hint="Wait.")

    async def __call__(self) -> str:
        self.made += 1
        if self.made <= self.failures:
            raise self._error
        return "there"


@pytest.mark.parametrize("failures", [0, 1, 5])
async def test_it_is_tried_until_it_answers(failures: int) -> None:
    told: list[str] = []
    attempt = Attempt(failures)
    waiting = Patience(Stop(), ManualClock(), told.append)
    assert await waiting.until(attempt) == "there"
    assert attempt.made == failures + 1
    assert told == (["waiting for the database: no answer"] * failures + [""] if failures else [])
    assert waiting.cause == ""


async def test_the_log_says_so_once_and_then_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = ManualClock()
    waiting = Patience(Stop(), clock, lambda cause: clock.advance(40 if cause else 0))
    await waiting.until(Attempt(4))
    said = capsys.readouterr().out
    # At 0 s and at 80 s; 40 s and 120 s are too soon after the last time.
    assert said.count("waiting for the database; nothing is served before") == 2
    assert said.count("the database is there") == 1


async def test_what_waiting_does_not_mend_is_raised() -> None:
    wrong = Attempt(9, SettingsError("another schema"))
    with pytest.raises(SettingsError, match="another schema"):
        await Patience(Stop(), ManualClock()).until(wrong)
    assert wrong.made == 1


async def test_a_process_that_waits_ends_when_asked() -> None:
    stop = Stop()
    waiting = Patience(stop, ManualClock(), lambda cause: stop.ask("test"))
    async with asyncio.timeout(5):
        with pytest.raises(StoppedError):
            await waiting.until(Attempt(10**9))
