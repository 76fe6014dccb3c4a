"""One client connection: llhttp reads requests, one task serves them in order.

The connection parses, applies back-pressure and keeps deadlines. What a request means, and what
happens to it, is the pipeline's business. Framing errors end the connection after an answer, so
that no byte behind them is ever taken for a request.
"""

import asyncio
import contextlib
import select
from typing import Final, cast

import httptools

from proxy.audit.event import CloseReason
from proxy.authn.certificate import BadCertificateError, CertificateIdentity, identify
from proxy.gateway.permit import Permit
from proxy.gateway.request import Request
from proxy.gateway.serving import Server, Waiting
from proxy.state.snapshot import ClusterRecord
from proxy.tasks import spawn
from proxy.upstream.connection import forget_certificate
from proxy.upstream.sending import SendingProtocol
from proxy.upstream.stream import ByteStream

MAX_PIPELINED: Final = 8
"""Requests parsed ahead of the one being served before we stop reading."""
MAX_HEADERS: Final = 1000
"""Headers of a request; each costs some hundred bytes here, however short it is."""
DISCARD: Final = 4 * 1024 * 1024
"""Bytes of an unwanted request body that are read, so that the answer to it is not lost."""
DISCARD_TIMEOUT: Final = 2.0
"""Seconds that the same may take."""
_HUNG_UP: Final = getattr(select, "POLLRDHUP", select.POLLHUP)


class ClientConnection(SendingProtocol):
    """A client's connection after its TLS handshake."""

    __slots__ = (
        "_crowded",
        "_current",
        "_head_bytes",
        "_headers",
        "_in_body",
        "_parser",
        "_pauses",
        "_requests",
        "_server",
        "_target",
        "_task",
        "_transport",
        "_unreadable",
        "_waiter",
        "cluster",
        "cut_reason",
        "deadline",
        "draining",
        "handshake",
        "identity",
        "identity_error",
        "limits",
        "lost",
        "permit",
        "reusable",
        "source",
        "waiting",
    )

    def __init__(self, server: Server, source: str) -> None:
        super().__init__()
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._requests: list[Request] = []
        self._waiter: asyncio.Future[None] | None = None
        self._pauses = 0
        self._crowded = False
        self._unreadable = ""
        self._head_bytes = 0
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._current: Request | None = None
        self._in_body = False
        self.limits = server.limits
        self.handshake: asyncio.Task[None] | None = None
        """The listener's task that shook hands."""
        self.source = source
        """Address the connection came from."""
        self.identity: CertificateIdentity | None = None
        """What the client's certificate says; None without one."""
        self.identity_error = ""
        """Why the certificate names nobody, when it does not."""
        self.lost = False
        self.reusable = True
        self.draining = False
        self.cut_reason: CloseReason | None = None
        """Why we are ending the connection from our side, set before its call is cancelled."""
        self.cluster: ClusterRecord | None = None
        """Cluster of the call being served, as it was when the call came."""
        self.permit: Permit | None = None
        """What the call being served rests on, once it was allowed."""
        self.waiting = Waiting.REQUEST
        self.deadline = self._loop.time() + server.limits.idle_timeout

    # --- asyncio.Protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        # uvloop's transports are not subclasses of asyncio's; the loop promises what it is.
        self._transport = cast("asyncio.Transport", transport)
        session = transport.get_extra_info("ssl_object")
        certificate = session.getpeercert(binary_form=True) if session is not None else None
        forget_certificate(transport)
        if certificate is not None:
            try:
                self.identity = identify(certificate)
            except BadCertificateError as error:
                self.identity_error = str(error)
        self._server.opened(self)
        self._task = spawn(self._serve(), name=f"connection {self.source}")

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what it finds is queued, whoever waits is woken once."""
        if self._sink is not None:
            self._sink.data(data)
        elif self._unreadable:
            return
        elif self._current is not None and self._current.upgrade:
            self._keep_early(data)
            self._wake()
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        body = self._current.body if self._in_body and self._current is not None else None
        seen = 0 if body is None else body.total
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._keep_early(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(_reason(error))
            return
        if body is not None and body.total > seen:
            # What is left is counted: trailers that go on for ever are no body.
            self._head_bytes = 0
        if self._excess():
            self._refuse(self._excess())
            return
        if self.waiting is Waiting.REQUEST and self._head_bytes:
            self.waiting = Waiting.HEAD
            self.deadline = self._loop.time() + self._server.limits.header_timeout
        if self._in_body and self._current is not None and self._current.body is not None:
            self._current.body.wake()
        if len(self._requests) >= MAX_PIPELINED and not self._crowded:
            self._crowded = True
            self.pause_reading()
        self._wake()

    def _excess(self) -> str:
        """What is over its limit in the head (or the trailers) being read; empty when nothing."""
        limit = self.limits.header_bytes
        if self._head_bytes > limit:
            return f"the request head is over {limit} bytes"
        if len(self._headers) > MAX_HEADERS:
            return f"the request has over {MAX_HEADERS} headers"
        return ""

    def eof_received(self) -> None:
        """The client is done sending; over TLS that ends the connection (no half-close)."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: its call is cancelled, its body ends in an error."""
        self.lost = True
        # With it goes the TLS session. The parser and we know each other, and would keep it until
        # the garbage collector comes round: with clients that come and go, 80 MB of such.
        self._transport = None
        sink = self._sink
        if sink is not None:
            sink.closed(exc)
        elif self._task is not None and not self._task.done():
            self._task.cancel()
        self._server.closed(self)
        self.resume_writing()

    # --- llhttp callbacks --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        """The target, possibly in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; request trailers are dropped, as RFC 9110 §6.5.1 allows."""
        if not self._in_body:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole: queue the request."""
        parser = self._parser
        request = Request(parser.get_method(), self._target, self._headers)
        request.version = parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        request.upgrade = parser.should_upgrade()
        length = b""
        chunked = False
        for name, value in self._headers:
            size = len(name)
            if size == 14 and name.lower() == b"content-length":
                length = value
            elif size == 17 and name.lower() == b"transfer-encoding":
                if value.strip().lower() != b"chunked":
                    raise httptools.HttpParserCallbackError("Transfer-Encoding is not chunked")
                chunked = True
            elif size == 6 and name.lower() == b"expect":
                request.expects = True
        if chunked or (length and length != b"0"):
            request.body = ByteStream(self)
            self._in_body = True
        if self._head_bytes > self.limits.header_bytes:
            # The delivery may hold more than the head.
            self._head_bytes = len(self._target) + sum(
                len(name) + len(value) + 4 for name, value in self._headers
            )
        if self._excess():
            raise httptools.HttpParserCallbackError(self._excess())
        self._head_bytes = 0
        self._current = request
        self._requests.append(request)

    def on_body(self, data: bytes) -> None:
        """Body bytes, without chunk framing."""
        if self._current is not None and self._current.body is not None:
            self._current.body.feed(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        self._head_bytes = 0
        current = self._current
        if current is not None and current.body is not None:
            current.body.end()

    # --- serving -----------------------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            while not self.lost:
                if not self._requests and not await self._next():
                    break
                request = self._requests.pop(0)
                if self._crowded and not self._requests:
                    self._crowded = False
                    self.resume_reading()
                self.waiting = Waiting.NOTHING
                await self._server.serve(self, request)
                body = request.body
                if body is not None and (body.waiting or not body.complete):
                    await self._discard(body)
                if not self.reusable or self.draining or not request.keep_alive:
                    break
                self.waiting = Waiting.REQUEST
                self.deadline = self._loop.time() + self._server.limits.idle_timeout
            if self._unreadable and self.reusable and not self.lost:
                await self._server.unreadable(self, self._unreadable)
        except (asyncio.CancelledError, ConnectionError):
            # The client left, or we cut it; the pipeline has recorded which.
            self.abort()
        finally:
            self.close()

    async def _next(self) -> bool:
        """Wait for a request; False when none will come."""
        while not self._requests:
            if self._unreadable or self.lost or self.draining:
                return False
            self._waiter = self._loop.create_future()
            await self._waiter
        return True

    @staticmethod
    async def _discard(body: ByteStream) -> None:
        """Drop what is left of a body that nobody wanted.

        Closing at once would make the kernel reset the connection, and the client lose the
        answer; a body left where it is would keep the next request from being read.
        """
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(DISCARD_TIMEOUT):
                await body.discard(DISCARD)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _refuse(self, why: str) -> None:
        self._unreadable = why
        if self._in_body and self._current is not None and self._current.body is not None:
            # The request is being served already: its own record and answer say what happened.
            self._current.body.fail(ConnectionError(why))
        self._wake()

    # --- what the pipeline uses --------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes to the client; nothing once it is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Stop taking bytes from the client, until every pause was taken back.

        A body, the pipeline of requests and a tunnel may each want it, for reasons of their own.
        """
        self._pauses += 1
        if self._pauses == 1 and self._transport is not None and not self._ending():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take one pause back."""
        self._pauses -= 1
        if self._pauses == 0 and self._transport is not None and not self._ending():
            self._transport.resume_reading()

    def _ending(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def left(self) -> bool:
        """Whether the client hung up while we do not read, when no loop would tell us.

        Not for tunnels: what a client sent there before it hung up is still to be delivered.
        """
        if not self._pauses or self._sink is not None or self._ending():
            return False
        assert self._transport is not None  # noqa: S101  # _ending() says so
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), _HUNG_UP)
        return bool(poll.poll(0))

    def cut(self, reason: CloseReason) -> None:
        """End the connection now; a call under way is recorded with `reason`."""
        if self.cut_reason is None:
            self.cut_reason = reason
            if self._task is not None and not self._task.done():
                self._task.cancel()
            else:
                self.abort()

    def drain_idle(self) -> None:
        """Serve what is under way, nothing more; close at once when idle."""
        self.draining = True
        if self.waiting is not Waiting.NOTHING:
            self._wake()

    def close(self) -> None:
        """Close after sending what waits."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close without sending what waits, so a cut response cannot look complete."""
        if self._transport is not None:
            self._transport.abort()


def _reason(error: httptools.HttpParserError) -> str:
    cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
    text = str(cause or error) or type(error).__name__
    return text if len(text) <= 200 else text[:200]
