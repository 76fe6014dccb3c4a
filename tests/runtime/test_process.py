"""What a process sets up, and how it is asked to end."""

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Iterator

import pytest

from proxy.runtime.process import SWITCH_INTERVAL, YOUNG, Stop, prepare


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    switch, files = sys.getswitchinterval(), resource.getrlimit(resource.RLIMIT_NOFILE)
    thresholds = gc.get_threshold()
    yield files
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(switch)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)


def test_prepare_raises_the_file_limit_and_lets_threads_in(limits: tuple[int, int]) -> None:
    hard = limits[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    prepare()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL)
    assert gc.get_threshold()[0] == YOUNG
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize(
    ("signals", "asked", "now", "reason"),
    [
        ([], False, False, ""),
        ([signal.SIGTERM], True, False, "SIGTERM"),
        ([signal.SIGINT], True, False, "SIGINT"),
        ([signal.SIGTERM, signal.SIGINT], True, True, "SIGTERM"),
    ],
)
async def test_the_first_signal_asks_and_the_second_insists(
    signals: list[signal.Signals], asked: bool, now: bool, reason: str
) -> None:
    stop, loop = Stop(), asyncio.get_running_loop()
    stop.on_signals()
    try:
        for number in signals:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    assert (stop.asked.is_set(), stop.now.is_set(), stop.reason) == (asked, now, reason)
