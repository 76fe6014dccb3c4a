"""What a process must set up for itself before it serves: limits, signals, the interpreter."""

import asyncio
import gc
import resource
import signal
import sys
from typing import Final

import structlog

from proxy import heap

_log = structlog.get_logger(__name__)

SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that waits for the interpreter gets it. The journal's thread wakes
up after every sync; with Python's default of 5 ms a busy loop would add that to every call."""

YOUNG: Final = 10_000
"""New objects between looks for garbage in cycles, which we make little of. With Python's default
of 700 a batch of events is looked through hundreds of times: a quarter of an indexer's time."""


def prepare() -> None:
    """Raise the limit of open files as far as we may, let the journal's thread in quickly, and
    keep the garbage collector from looking at what stays for ever."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    heap.keep_buffers()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    gc.collect()
    gc.freeze()  # the modules: a full collection would stop the loop for tens of milliseconds
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
