"""Who listens to rows as they come: live tails, each with a filter and a bound on what waits."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol

import msgspec

from proxy.audit.index.query import Filter, Within, matches
from proxy.audit.index.rows import Row


class Missed(msgspec.Struct, frozen=True):
    """A listener was too slow, and this many rows passed it by; a search finds them."""

    count: int


class Subscription:
    """Rows as they are indexed, for one listener: `async for item in subscription`."""

    def __init__(self, given: Filter, size: int) -> None:
        self.filter = given
        self._size = size
        self._rows: deque[Row] = deque()
        self._missed = 0
        self._wake = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[Row | Missed]:
        return self

    async def __anext__(self) -> Row | Missed:
        while not self._rows:
            self._wake.clear()
            await self._wake.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return Missed(missed)
        return self._rows.popleft()

    def see(self, within: Within | None) -> None:
        """From now on, queue only what is `within`. What waits already was let through before."""
        if within != self.filter.within:
            self.filter = msgspec.structs.replace(self.filter, within=within)

    def offer(self, rows: Iterable[Row]) -> None:
        """Queue what the filter lets through; the oldest give way when the listener is slow."""
        for row in rows:
            if matches(row, self.filter):
                self._rows.append(row)
        while len(self._rows) > self._size:
            self._rows.popleft()
            self._missed += 1
        if self._rows:
            self._wake.set()


class Listeners:
    """All listeners of one process."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self.present = asyncio.Event()
        """Set while anybody listens."""

    @contextmanager
    def join(self, given: Filter | None, size: int) -> Iterator[Subscription]:
        """Listen, from now on, to the rows that `given` asks for; at most `size` wait."""
        subscription = Subscription(given or Filter(), size)
        self._subscriptions.append(subscription)
        self.present.set()
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            if not self._subscriptions:
                self.present.clear()

    def tell(self, rows: Iterable[Row]) -> None:
        """Offer rows of one writer, in order, to everybody."""
        for subscription in self._subscriptions:
            subscription.offer(rows)


class Looks(Protocol):
    """What whoever looks at the log needs besides the index itself."""

    async def catch_up(self) -> object:
        """Return when the index holds what this replica had made durable at the time of the call.

        Raises KubewitnessError or OSError when that fails.
        """
        ...

    def subscribe(
        self, given: Filter | None = None, size: int = 1000
    ) -> AbstractAsyncContextManager[Subscription]:
        """Listen, from the entry on, to the rows that `given` asks for; at most `size` wait."""
        ...
