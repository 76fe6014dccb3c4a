"""Records on their way to the disk, and who waits for each of them.

Oldest first: those with the disk (`sent`), then those queued behind them. Bounded in count and in
bytes. Belongs to one event loop and knows neither clock nor disk.
"""

from asyncio import Future
from itertools import accumulate, islice
from typing import Final

from proxy.audit.port import JournalUnavailableError

BATCH_RECORDS: Final = 2048
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Bounds on one batch: framing must not hold up the loop, even after the disk was away."""


class Waiting:
    """The queue of one journal."""

    def __init__(self, *, records: int, size: int) -> None:
        self._most_records = records
        self._most_bytes = size
        self.bodies: list[bytes] = []
        self._futures: list[Future[int] | None] = []
        self._sent: list[Future[int] | None] = []
        self._size = 0
        self._sent_size = 0
        self.queued = 0
        """Records ever queued."""
        self.settled = 0
        """Of them, those that are durable."""

    @property
    def idle(self) -> bool:
        """Whether everything that was queued is durable."""
        return self.settled == self.queued

    @property
    def size(self) -> int:
        """Bytes that are not durable yet."""
        return self._size + self._sent_size

    def put(self, body: bytes, future: Future[int] | None) -> None:
        """Queue one record. Raises JournalUnavailableError when there is no room."""
        bodies = self.bodies
        if len(bodies) >= self._most_records or self._size + len(body) > self._most_bytes:
            raise JournalUnavailableError(
                f"{len(bodies)} records wait for the disk, no more are taken",
                hint="The disk is too slow for the load, or hangs.",
            )
        bodies.append(body)  # as in `force`; a call costs a tenth of all this
        self._futures.append(future)
        self._size += len(body)
        self.queued += 1

    def force(self, body: bytes) -> None:
        """Queue one record past the bounds: a full queue must not hide why it is full."""
        self.bodies.append(body)
        self._futures.append(None)
        self._size += len(body)
        self.queued += 1

    def take(self) -> list[bytes]:
        """The bodies of the next batch: all that is queued, or as much as a batch may hold."""
        bodies, futures = self.bodies, self._futures
        if len(bodies) <= BATCH_RECORDS and self._size <= BATCH_BYTES:
            self.bodies, self._futures = [], []
            self._sent, self._sent_size, self._size = futures, self._size, 0
            return bodies
        sizes = accumulate(map(len, bodies[:BATCH_RECORDS]))
        count = 1 + sum(size < BATCH_BYTES for size in islice(sizes, BATCH_RECORDS - 1))
        self.bodies, self._futures = bodies[count:], futures[count:]
        total, self._size = self._size, sum(map(len, self.bodies))
        self._sent, self._sent_size = futures[:count], total - self._size
        return bodies[:count]

    def release(self, first: int) -> int:
        """The batch that was taken is durable, from sequence `first` on; returns its length."""
        futures, self._sent, self._sent_size = self._sent, [], 0
        for seq, future in enumerate(futures, first):
            if future is not None and not future.done():
                future.set_result(seq)
        self.settled += len(futures)
        return len(futures)

    def refuse(self, upto: int, reason: str) -> None:
        """Fail whoever waits for one of the first `upto` records ever queued.

        The records stay: they are written when the disk is back.
        """
        error = JournalUnavailableError(reason)
        count = upto - self.settled
        for futures in (self._sent, self._futures):
            for index, future in enumerate(futures[: max(count, 0)]):
                if future is not None and not future.done():
                    future.set_exception(error)
                    future.exception()  # seen: `failure` says the same to whoever does not await
                futures[index] = None
            count -= len(futures)
