"""A body on its way through: chunks in, chunks out, bounded in between.

One side feeds what a transport delivered, the other reads it. When too much waits, the transport
is told to stop reading, which is the back-pressure that keeps a 1 GB body in constant memory.
"""

import asyncio
from typing import Final, Protocol

HIGH_WATER: Final = 256 * 1024
"""Bytes that may wait before the sender is paused; one uvloop read is at most this much."""
LOW_WATER: Final = 64 * 1024


class Source(Protocol):
    """Where the bytes come from; each pause is taken back once."""

    def pause_reading(self) -> None:
        """Stop taking bytes."""

    def resume_reading(self) -> None:
        """Take bytes again."""


class ByteStream:
    """The bytes of one message body, in order, with an end or an error."""

    __slots__ = (
        "_chunks",
        "_ended",
        "_error",
        "_paused",
        "_size",
        "_source",
        "_waiter",
        "total",
    )

    def __init__(self, source: Source) -> None:
        self._source = source
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._error: Exception | None = None
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self.total = 0
        """Bytes fed so far."""

    @property
    def complete(self) -> bool:
        """Whether the end has arrived, read or not."""
        return self._ended

    @property
    def failed(self) -> bool:
        """Whether it ended in an error."""
        return self._error is not None

    @property
    def waiting(self) -> int:
        """Bytes fed and not read."""
        return self._size

    def feed(self, data: bytes) -> None:
        """Take what the transport delivered."""
        self._chunks.append(data)
        size = len(data)
        self._size += size
        self.total += size
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._source.pause_reading()

    def wake(self) -> None:
        """Let a waiting reader look again; called once per delivery, after feeding."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def check(self) -> None:
        """Raise what `fail` was given, if anything."""
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Mark the end of the body."""
        self._ended = True
        self.wake()

    def fail(self, error: Exception) -> None:
        """End with `error`, raised to the reader after what had arrived."""
        if not self._ended and self._error is None:
            self._error = error
            self.wake()

    async def more(self) -> None:
        """Wait until something was fed, the end came, or it failed."""
        if self._waiter is None or self._waiter.done():
            # A waiter that is done was cancelled: its reader ran out of time, or was ended.
            self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    async def read(self) -> bytes:
        """Everything that waits, at least one byte; empty at the end.

        Raises what `fail` was given, once all bytes before it are read.
        """
        while not self._chunks:
            if self._ended:
                return b""
            self.check()
            await self.more()
        return self.take()

    def take(self) -> bytes:
        """Everything that waits, without waiting for more."""
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._size = 0
        self._release()
        return data

    def peek(self) -> bytes:
        """Everything that waits, which goes on waiting."""
        return b"".join(self._chunks)

    def _release(self) -> None:
        if self._paused and self._size <= LOW_WATER:
            self._paused = False
            self._source.resume_reading()

    async def discard(self, limit: int) -> bool:
        """Read and drop up to `limit` bytes; True when the end was reached within it."""
        seen = 0
        while seen <= limit:
            data = await self.read()
            if not data:
                return True
            seen += len(data)
        return False
