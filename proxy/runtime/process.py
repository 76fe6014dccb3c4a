"""What a process must set up for itself before it serves: limits, signals, the interpreter."""

import asyncio
import ctypes
import gc
import resource
import signal
import sys
from typing import Final

import structlog

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
MIB: Final = 1024 * 1024

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
    _keep_memory()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    gc.collect()
    gc.freeze()  # the modules: a full collection would stop the loop for tens of milliseconds
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            _log.warning("limit of open files stays low", limit=soft, error=str(error))


def _keep_memory() -> None:
    """Let glibc keep the memory of large buffers instead of giving each back to the kernel.

    A TLS read makes a buffer of 256 KiB. By default it is mapped and unmapped, or trimmed off the
    heap, every time, and a large list spends a third of its time in page faults (mallopt(3)).
    Other C libraries have no mallopt and do not need it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MIB)
        mallopt(_M_TRIM_THRESHOLD, 8 * MIB)


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
