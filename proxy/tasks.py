"""Tasks with names and owners: the only way to start one.

A task is referenced until it ends, and one that fails says so in the log at once instead of
when it is garbage-collected.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_running: set[asyncio.Task[Any]] = set()


def spawn(coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Start `coroutine` on the running loop as a task called `name` and keep it alive.

    A failure is logged with its traceback unless someone awaits the task first.
    """
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if task.cancelled():
        return
    error = task.exception()
    if error is not None:
        _log.error("task failed", task=task.get_name(), exc_info=error)


async def cancel(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel `tasks` and wait until each has ended; `None` and ended tasks are fine."""
    pending = [task for task in tasks if task is not None and not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)
