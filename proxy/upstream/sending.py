"""What both ends of a call share: back-pressure while sending, and raw bytes after an upgrade."""

import asyncio
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


class SendingProtocol(asyncio.Protocol):
    """A connection whose writers wait while the peer reads slower than they write.

    Before an upgrade they wait in `drained`; after it, the sink is told to pause.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._drain: asyncio.Future[None] | None = None
        self._sink: RawSink | None = None

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

    def _deliver_to(self, sink: RawSink) -> None:
        """Tell `sink` about this connection from now on, also when it cannot write just now."""
        self._sink = sink
        if self._drain is not None:
            sink.pause()
