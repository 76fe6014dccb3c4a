"""One HTTP/1.1 connection to a cluster: llhttp reads the answers, bodies are flow-controlled.

The connection knows nothing of calls or records. It sends a finished head, and hands back one
response head and a body; after a 101 it carries raw bytes both ways.
"""

import asyncio
from typing import Final, cast

import httptools

from proxy.errors import UnavailableError
from proxy.upstream.sending import SendingProtocol
from proxy.upstream.stream import ByteStream

MAX_RESPONSE_HEAD: Final = 1024 * 1024
"""Bytes of a response head we accept; long Warning and Link headers are legitimate."""


class UpstreamError(UnavailableError):
    """The cluster could not be reached, or did not keep to HTTP."""


def forget_certificate(transport: asyncio.BaseTransport) -> None:
    """Drop the decoded copy of the peer's certificate that the loop keeps for each connection.

    Nobody reads it, and it is 1.5 KB that an idle watch would hold twice.
    """
    decoded = transport.get_extra_info("peercert")
    if isinstance(decoded, dict):
        decoded.clear()


class ResponseHead:
    """Status line and headers of a response, and its body."""

    __slots__ = ("body", "headers", "status", "trailers")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: ByteStream) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.trailers: list[tuple[bytes, bytes]] = []


class UpstreamConnection(SendingProtocol):
    """An open connection; either idle in a pool, busy with one request, or upgraded."""

    __slots__ = (
        "_fresh_parser",
        "_head",
        "_head_bytes",
        "_head_seen",
        "_headers",
        "_method",
        "_parser",
        "_switched",
        "_transport",
        "_waiter",
        "closing",
        "idle_since",
        "informational",
        "lost",
        "must_close",
        "reusable",
    )

    def __init__(self) -> None:
        super().__init__()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[ResponseHead] | None = None
        self._head: ResponseHead | None = None
        self._head_seen = False
        self._head_bytes = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._method = b"GET"
        self._switched = False
        self._fresh_parser = False
        self.informational: list[tuple[int, list[tuple[bytes, bytes]]]] = []
        """1xx answers (not 101) that came before the response of the call under way."""
        self.lost = False
        self.closing = False
        """No request may be sent on it any more; set before the loop says that it is lost."""
        self.reusable = False
        """True when the last exchange ended cleanly and the server did not ask to close."""
        self.must_close = False
        """The request was not sent whole, so no other may follow on this connection."""
        self.idle_since = 0.0

    # --- sending -----------------------------------------------------------------------------

    def request(self, method: bytes, data: bytes) -> asyncio.Future[ResponseHead]:
        """Send a head (and whatever body bytes stand behind it); the future is the response head.

        It fails with UpstreamError when the connection ends first.
        """
        self._method = method
        self._head = None
        self._head_seen = False
        self._head_bytes = 0
        self.reusable = False
        self.informational.clear()
        self._waiter = waiter = self._loop.create_future()
        if self.closing or self._transport is None:
            waiter.set_exception(UpstreamError("the connection was closed before it was used"))
        else:
            self._transport.write(data)
        return waiter

    def write(self, data: bytes) -> None:
        """Send body bytes, or raw bytes after an upgrade; nothing once the connection is lost."""
        if self._transport is not None:
            self._transport.write(data)

    # --- asyncio.Protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are not subclasses of asyncio's; the loop promises what it is.
        self._transport = cast("asyncio.Transport", transport)
        forget_certificate(transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser and wake whoever waits, once per delivery."""
        if self._sink is not None:
            self._sink.data(data)
            return
        if self._switched:
            # Between the 101 and its record these are no HTTP, and llhttp must not see them.
            self._keep_early(data)
            return
        if self._waiter is None and (self._head is None or self._head.body.complete):
            # A poisoned answer: it must not meet the next request on this connection.
            self._broken("the cluster sent bytes that were not asked for")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switched = True
            self._keep_early(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._broken(f"the cluster's answer is not HTTP/1.1: {error}")
            return
        if self._fresh_parser:
            self._fresh_parser = False
            self._parser = httptools.HttpResponseParser(self)
        self._wake(len(data))

    def _wake(self, size: int) -> None:
        head = self._head
        if head is None:
            self._head_bytes += size
            if self._head_bytes > MAX_RESPONSE_HEAD:
                self._broken("the cluster's response head is over 1 MiB")
            return
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(head)
        head.body.wake()

    def eof_received(self) -> None:
        """The server closed: ends a body that is delimited by the close."""
        self.closing = True

    def connection_lost(self, exc: Exception | None) -> None:
        """End whatever was under way."""
        self.lost = self.closing = True
        self._transport = None  # at once, as in proxy.gateway.connection
        self.reusable = False
        sink = self._sink
        if sink is not None:
            sink.closed(exc)
        head = self._head
        if head is not None and not head.body.complete:
            if exc is None and self._until_close(head):
                head.body.end()
            else:
                head.body.fail(UpstreamError("the cluster closed the connection mid-response"))
        self._fail_waiter("the cluster closed the connection without an answer")
        self.resume_writing()

    # --- llhttp callbacks --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A response begins."""
        if self._head is not None:
            raise httptools.HttpParserCallbackError("a second answer to one request")
        self._headers = []
        self._head_seen = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; after the head, a trailer."""
        if self._head_seen:
            if self._head is not None:
                self._head.trailers.append((name, value))
        else:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_seen = True
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.informational.append((status, self._headers))
            return
        self._head = ResponseHead(status, self._headers, ByteStream(self))
        if status == 101:
            self._head.body.end()
        elif self._method == b"HEAD":
            # llhttp cannot know that no body follows; a new parser reads the next answer.
            self._fresh_parser = True
            self._complete(self._parser.should_keep_alive())

    def on_body(self, data: bytes) -> None:
        """Body bytes, without chunk framing."""
        head = self._head
        if head is None or head.body.complete:
            raise httptools.HttpParserCallbackError("body bytes after the end of an answer")
        head.body.feed(data)

    def on_message_complete(self) -> None:
        """The response is whole."""
        head = self._head
        if head is not None and not head.body.complete:
            self._complete(self._parser.should_keep_alive())

    # --- ends --------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Stop taking bytes from the cluster."""
        if self._transport is not None and not self.closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close after sending what waits."""
        self.closing = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now: the upstream call is cancelled."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    def _complete(self, keep_alive: bool) -> None:
        assert self._head is not None  # noqa: S101
        self.reusable = keep_alive and not self.lost
        self._head.body.end()

    def _until_close(self, head: ResponseHead) -> bool:
        names = {name.lower() for name, _ in head.headers}
        return b"content-length" not in names and b"transfer-encoding" not in names

    def _broken(self, why: str) -> None:
        self.reusable = False
        if self._head is not None:
            self._head.body.fail(UpstreamError(why))
        self._fail_waiter(why)
        self.abort()

    def _fail_waiter(self, why: str) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(UpstreamError(why))
