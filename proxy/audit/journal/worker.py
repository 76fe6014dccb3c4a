"""A thread that does one job after another for an event loop, and tells it how each went."""

import queue
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import NamedTuple

from proxy.clock import Clock


class Job(NamedTuple):
    """Blocking work, and what the loop calls with its error, if any, and the seconds it took."""

    work: Callable[[], None]
    done: Callable[[Exception | None, float], None]


class Worker:
    """The thread of one journal. It ends with the process, wherever it hangs."""

    def __init__(self, loop: AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Do this after what was put before."""
        self._jobs.put(job)

    def stop(self) -> None:
        """End after what was put before."""
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            started = self._clock.monotonic()
            error: Exception | None = None
            try:
                job.work()
            except Exception as caught:  # noqa: BLE001  # whatever it is, the work was not done
                error = caught
            seconds = self._clock.monotonic() - started
            try:
                self._loop.call_soon_threadsafe(job.done, error, seconds)
            except RuntimeError:
                return  # the loop is gone, and with it everyone who could wait
