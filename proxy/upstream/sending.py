"""What both ends of a call share: back-pressure while sending, and raw bytes after an upgrade."""

import asyncio
from abc import ABC, abstractmethod
from typing import Final, Protocol

MAX_EARLY: Final = 64 * 1024
"""Bytes kept that came behind an upgrade, before its record is durable."""


class RawSink(Protocol):
    """Receives what an upgraded connection delivers."""

    def data(self, data: bytes) -> None:
        """Bytes arrived."""

    def closed(self, error: Exception | None) -> None:
        """No more bytes will arrive."""

    def pause(self) -> None:
        """Writing to this connection should stop for now."""

    def resume(self) -> None:
        """Writing may go on."""


class SendingProtocol(asyncio.Protocol, ABC):
    """A connection whose writers wait while the peer reads slower than they write.

    Before an upgrade they wait in `drained`; after it, the sink is told to pause.
    """

    __slots__ = (
        "_drain",
        "_early",
        "_loop",
        "_sink",
    )

    lost: bool
    """Whether the connection is gone."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._drain: asyncio.Future[None] | None = None
        self._sink: RawSink | None = None
        self._early = b""

    def pause_writing(self) -> None:
        """The send buffer is full."""
        if self._drain is None:
            self._drain = self._loop.create_future()
            if self._sink is not None:
                self._sink.pause()

    def resume_writing(self) -> None:
        """The send buffer has room, or nobody needs it any more."""
        drain, self._drain = self._drain, None
        if drain is not None:
            drain.set_result(None)
            if self._sink is not None:
                self._sink.resume()

    async def drained(self) -> None:
        """Wait while the peer reads slower than we write."""
        if self._drain is not None:
            # Shielded: a waiter that is cancelled must not cancel it for the next one.
            await asyncio.shield(self._drain)

    @abstractmethod
    def pause_reading(self) -> None:
        """Stop taking bytes from the peer."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Take bytes again."""

    def _keep_early(self, data: bytes) -> None:
        """Keep what came behind an upgrade until `upgrade`; the peer stops when it is too much."""
        before = len(self._early)
        self._early += data
        if before <= MAX_EARLY < len(self._early):
            self.pause_reading()

    def upgrade(self, sink: RawSink) -> None:
        """After a 101: everything from here goes to `sink`, beginning with what came early.

        It is told also when it cannot write just now, or when the connection is gone already.
        """
        self._sink = sink
        if self._drain is not None:
            sink.pause()
        early, self._early = self._early, b""
        if len(early) > MAX_EARLY:
            self.resume_reading()
        if early:
            sink.data(early)
        if self.lost:
            sink.closed(None)
