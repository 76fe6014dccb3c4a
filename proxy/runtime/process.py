"""What a process must set up for itself before it serves: limits, signals, the interpreter."""

import asyncio
import resource
import signal
import sys
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that waits for the interpreter gets it. The journal's thread wakes
up after every sync; with Python's default of 5 ms a busy loop would add that to every call."""


def prepare() -> None:
    """Raise the limit of open files as far as we may, and let the journal's thread in quickly."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            _log.warning("limit of open files stays low", limit=soft, error=str(error))


class Stop:
    """How a process is asked to end: first politely, then at once.

    The first SIGTERM or SIGINT sets `asked`; the second sets `now`, which cuts the drain.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.now = asyncio.Event()
        self.reason = ""

    def on_signals(self) -> None:
        """Listen to SIGTERM and SIGINT from here on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask, signal.Signals(number).name)

    def ask(self, reason: str) -> None:
        """Ask politely the first time, and insist the second."""
        if self.asked.is_set():
            self.now.set()
            return
        self.reason = reason
        self.asked.set()
