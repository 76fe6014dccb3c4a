"""Tasks the process cannot do without: when one ends, the process says so and ends."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from proxy.errors import KubewitnessError
from proxy.tasks import cancel, spawn


class EssentialTaskError(KubewitnessError):
    """A part that must always run has stopped."""


class Essentials:
    """The essential tasks of a process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._added = asyncio.Event()

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        """Run `coroutine`; it is not supposed to end before `stop`."""
        self._tasks.add(spawn(coroutine, name=name))
        self._added.set()

    async def wait(self, event: asyncio.Event) -> None:
        """Return when `event` is set. Raises EssentialTaskError when a task ends before it."""
        waiting = spawn(event.wait(), name="wait to end")
        try:
            while not waiting.done():
                self._added.clear()
                added = spawn(self._added.wait(), name="wait for tasks")
                await asyncio.wait(
                    {waiting, added, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
                )
                await cancel(added)
                self._check()
        finally:
            await cancel(waiting)

    def _check(self) -> None:
        for task in self._tasks:
            if not task.done():
                continue
            error = None if task.cancelled() else task.exception()
            what = f"{type(error).__name__}: {error}" if error is not None else "it ended"
            raise EssentialTaskError(
                f"{task.get_name()} stopped: {what}.",
                hint="The proxy does not run without it; see the log above, then start it again.",
            ) from error

    async def stop(self) -> None:
        """Cancel them all and wait until they ended."""
        await cancel(*self._tasks)
        self._tasks.clear()
