"""The thread: jobs in their order, errors told, and an end."""

import asyncio
import threading
from functools import partial

from proxy.audit.journal.worker import Job, Worker
from proxy.clock import SystemClock


async def test_jobs_are_done_in_order_elsewhere_and_told_here() -> None:
    worker = Worker(asyncio.get_running_loop(), SystemClock())
    done: list[tuple[str, str]] = []
    threads: set[int] = set()
    all_told = asyncio.Event()

    def work(name: str) -> None:
        threads.add(threading.get_ident())
        if name == "b":
            raise ValueError(name)

    def told(name: str, error: Exception | None, seconds: float) -> None:
        assert seconds >= 0
        done.append((name, str(error)))
        if name == "c":
            all_told.set()

    for name in "abc":
        worker.put(Job(partial(work, name), partial(told, name)))
    await asyncio.wait_for(all_told.wait(), 5)
    assert done == [("a", "None"), ("b", "b"), ("c", "None")]
    assert threads.isdisjoint({threading.get_ident()})
    worker.stop()
    await asyncio.to_thread(worker.join)


async def test_a_loop_that_is_gone_ends_it() -> None:
    other = asyncio.new_event_loop()
    worker = Worker(other, SystemClock())
    other.close()
    worker.put(Job(lambda: None, lambda _error, _seconds: None))
    await asyncio.wait_for(asyncio.to_thread(worker.join), 5)
