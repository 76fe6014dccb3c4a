"""Connections before they carry a request: accepted, greeted, on record when that fails.

The accept loop never waits for a client: each is greeted in a task of its own, under a deadline, so
that silent sockets cost a bounded amount and never the listener. Both planes come in through here.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from proxy.audit.event import ConnectionEvent, body, new_id
from proxy.audit.port import Journal, JournalUnavailableError
from proxy.audit.strangers import Strangers
from proxy.clock import Clock, rfc3339
from proxy.metrics import Metrics
from proxy.tasks import cancel, spawn

_PAUSE: Final = 0.1
"""Seconds after an accept that failed."""
_log = structlog.get_logger(__name__)

Failed = Callable[[str, str, str], None]
"""Told of a connection that ended before it carried a request: source, reason, message."""


class FailedConnections:
    """Puts connections on record that never carried a request."""

    def __init__(
        self,
        listener: str,
        journal: Journal,
        metrics: Metrics,
        clock: Clock,
        strangers: Strangers,
    ) -> None:
        """`listener` is `data` or `control`; `strangers` the budget of its refusals."""
        self._listener = listener
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._strangers = strangers

    def record(self, source: str, reason: str, message: str) -> None:
        """Queue a connection event; nobody waits for it, since nobody was let in.

        Of a source with too many there is only a sum.
        """
        self._metrics.refusals.labels(reason).inc()
        if not self._strangers.admits(source, reason):
            return
        now = self._clock.now()
        event = ConnectionEvent(
            new_id(now), rfc3339(now), (source,), self._listener, reason, message
        )
        try:
            self._journal.post(body(event))
        except JournalUnavailableError as error:
            _log.warning("a failed connection could not be recorded", error=error.message)


class Arrival:
    """A connection that was accepted and not greeted yet."""

    def __init__(self, sock: socket.socket, source: str) -> None:
        self.socket = sock
        self.source = source
        """Whom a failure is put down to: the peer, until greeting finds out better."""


class Accepting:
    """Accepts on one socket. Servers of the event loop tell nobody of handshakes that fail."""

    def __init__(
        self,
        greet: Callable[[Arrival], Awaitable[None]],
        *,
        seconds: float,
        room: Callable[[int], bool],
        failed: Failed,
    ) -> None:
        """`greet` makes a served connection of an arrival, within `seconds`.

        `room` is given the number of greetings under way and says whether there may be another; who
        finds none is turned away unheard.
        """
        self._greet = greet
        self._seconds = seconds
        self._room = room
        self._failed = failed
        self._greeting: set[asyncio.Task[None]] = set()

    async def run(self, listener: socket.socket) -> None:
        """Accept on a socket that listens, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listener)
            except OSError as error:
                # Out of descriptors: wait for some to come back instead of spinning.
                _log.warning("cannot accept", error=str(error))
                await asyncio.sleep(_PAUSE)
                continue
            if not self._room(len(self._greeting)):
                sock.close()
                continue
            task = spawn(self._greeted(Arrival(sock, str(address[0]))), name="handshake")
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

    def served(self, greeting: asyncio.Task[None]) -> None:
        """The connection of this greeting is open: it is no greeting any more."""
        self._greeting.discard(greeting)

    async def stop(self) -> None:
        """End the greetings under way; `run` must have been cancelled."""
        await cancel(*self._greeting)

    async def _greeted(self, arrival: Arrival) -> None:
        """From an accepted socket to a served connection, or a failure that is told."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._greet(arrival)
        except TimeoutError:
            self._failed(arrival.source, "tls-timeout", "no complete handshake in time")
            arrival.socket.close()
        except OSError as error:
            self._failed(arrival.source, "tls-handshake", _tls_message(error))
            arrival.socket.close()
        except asyncio.CancelledError:
            arrival.socket.close()
            raise


def _tls_message(error: OSError) -> str:
    """Why a handshake failed, in a few words for the record."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"client certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error) or type(error).__name__
