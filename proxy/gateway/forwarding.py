"""Step 9 and 10 of a call that is not upgraded: send it, bring the answer back, in that order.

Nothing of an answer is released before its record is durable: a small answer waits for its
outcome, a large or open-ended one for `ResponseStarted` before its first byte and for the outcome
before its last. A response that could not be recorded is cut, so it cannot look complete.
"""

import asyncio
from typing import Any, Final

from proxy.audit.event import ResponseStatus
from proxy.gateway.connection import ClientConnection
from proxy.gateway.exchange import Intended
from proxy.gateway.record import CallRecord
from proxy.gateway.responding import (
    CONTINUE,
    chunk,
    content_length,
    head,
    last_chunk,
    without_framing,
)
from proxy.kube.headers import response_headers
from proxy.kube.request_info import CallClass
from proxy.tasks import cancel, spawn
from proxy.upstream.connection import ResponseHead, UpstreamConnection, UpstreamError
from proxy.upstream.pool import Pool
from proxy.upstream.request_head import encode
from proxy.upstream.stream import ByteStream

SMALL: Final = 64 * 1024
"""Bytes of an answer that is held back until its outcome is durable."""
GATHER: Final = 0.1
"""Seconds that an unfinished answer may take to become a small one, before it is streamed."""
_MICROS: Final = 1_000_000


class ClientGone(ConnectionError):  # noqa: N818  # what happened, not whose fault
    """The client broke off while its request body was on the way."""


async def forward(intended: Intended, pool: Pool) -> None:
    """Send the call to its cluster and relay the answer.

    Raises UpstreamError while nothing was sent to the client yet, JournalUnavailableError when
    the record failed before anything was released, and ClientGone.
    """
    authorized = intended.cleared.authorized
    target = authorized.target
    upstream = await pool.acquire(target)
    done = False
    try:
        response = await _exchange(intended, upstream)
        await relay(intended, upstream, response)
        done = True
    finally:
        if done:
            pool.release(target, upstream)
        else:
            upstream.abort()


async def _exchange(intended: Intended, upstream: UpstreamConnection) -> ResponseHead:
    """Send head and body; the answer may come before the body is through."""
    cleared = intended.cleared
    described = cleared.authorized.identified.described
    received = described.routed.received
    record = received.record
    request = received.request
    target = cleared.authorized.target
    headers = cleared.headers
    body = request.body
    length = None
    if body is not None:
        length = content_length(request.headers)
        headers.append(
            (b"Transfer-Encoding", b"chunked")
            if length is None
            else (b"Content-Length", b"%d" % length)
        )
        if request.expects:
            received.connection.write(CONTINUE)
    elif request.method in {b"POST", b"PUT", b"PATCH"}:
        headers.append((b"Content-Length", b"0"))
    data = encode(request.method, target.base_path + described.routed.path, headers)
    # A watch may last for an hour: what was only needed to send it goes now.
    headers.clear()
    request.headers.clear()
    begun = record.elapsed
    record.forwarded = True
    if body is None:
        response = await upstream.request(request.method, data)
    elif body.complete and length is not None:
        whole = body.take() if body.waiting else b""
        record.bytes_in = len(whole)
        response = await upstream.request(request.method, data + whole)
    else:
        answer = upstream.request(request.method, data)
        response = await _with_body(
            received.connection, record, upstream, body, length is None, answer
        )
    record.upstream_micros = int((record.elapsed - begun) * _MICROS)
    if response.status == 101:
        raise UpstreamError("the cluster switched protocols without being asked to")
    return response


async def _with_body(
    connection: ClientConnection,
    record: CallRecord,
    upstream: UpstreamConnection,
    body: ByteStream,
    chunked: bool,
    answer: asyncio.Future[ResponseHead],
) -> ResponseHead:
    pump = spawn(_send_body(connection, record, upstream, body, chunked), name="request body")
    try:
        either: list[asyncio.Future[Any]] = [pump, answer]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        gone = pump.result() if pump.done() and not answer.done() else None
        if gone is None:
            return await answer
    finally:
        answer.cancel()
        if not pump.done() or pump.result() is not None:
            # An early answer: the rest of the body is not wanted (RFC 9112 §9.6).
            await cancel(pump)
            upstream.must_close = True
            connection.reusable = False
    raise gone


async def _send_body(
    connection: ClientConnection,
    record: CallRecord,
    upstream: UpstreamConnection,
    body: ByteStream,
    chunked: bool,
) -> ClientGone | None:
    """Pass the body on to its end; returns what went wrong on the client's side, if anything."""
    while True:
        try:
            async with asyncio.timeout(connection.limits.body_timeout):
                data = await body.read()
        except (ConnectionError, TimeoutError) as error:
            return ClientGone(str(error) or "the request body stalled")
        if not data:
            break
        record.bytes_in += len(data)
        upstream.write(chunk(data) if chunked else data)
        await upstream.drained()
    if chunked:
        upstream.write(b"0\r\n\r\n")
    return None


async def relay(intended: Intended, upstream: UpstreamConnection, response: ResponseHead) -> None:
    """Bring an answer to the client, each part behind its record."""
    described = intended.cleared.authorized.identified.described
    received = described.routed.received
    client = received.connection
    record = received.record
    if response.status == 401:
        intended.cleared.authorized.target.unauthorized()
    headers = response_headers(response.headers)
    if not any(len(name) == 8 and name.lower() == b"audit-id" for name, _ in headers):
        headers.append((b"Audit-ID", record.call.audit_id.encode()))
    if client.draining or not client.reusable or not received.request.keep_alive:
        headers.append((b"Connection", b"close"))
        client.reusable = False
    body = response.body
    if not body.complete and described.call_class is not CallClass.STREAM:
        await _gather(body)
        # Nothing is released yet, so a break here can still be answered as an error.
        body.check()
    if body.complete and body.waiting <= SMALL and not response.trailers:
        await _release_small(
            record, client, response, headers, received.request.method, _hints(upstream)
        )
    else:
        await _stream(record, client, response, headers, _hints(upstream))


def _hints(upstream: UpstreamConnection) -> bytes:
    """1xx answers (103 Early Hints); they are released with the answer, behind its record."""
    return b"".join(
        head(status, response_headers(headers))
        for status, headers in upstream.informational
        if status != 100
    )


async def _gather(body: ByteStream) -> None:
    """Wait until the answer is whole, too large to hold back, or slow enough to be a stream."""
    try:
        async with asyncio.timeout(GATHER):
            while not body.complete and body.waiting <= SMALL:
                await body.more()
                body.check()
    except TimeoutError:
        return


async def _release_small(
    record: CallRecord,
    client: ClientConnection,
    response: ResponseHead,
    headers: list[tuple[bytes, bytes]],
    method: bytes,
    hints: bytes,
) -> None:
    data = response.body.take() if response.body.waiting else b""
    record.bytes_out = len(data)
    await record.end(ResponseStatus(response.status))
    if method == b"HEAD" or response.status in {204, 304}:
        if response.status == 204:
            headers = without_framing(headers)
        client.write(hints + head(response.status, headers))
        return
    framed = without_framing(headers)
    framed.append((b"Content-Length", b"%d" % len(data)))
    client.write(hints + head(response.status, framed) + data)
    await client.drained()


async def _stream(
    record: CallRecord,
    client: ClientConnection,
    response: ResponseHead,
    headers: list[tuple[bytes, bytes]],
    hints: bytes,
) -> None:
    length = content_length(headers)
    await record.start(response.status)
    if length is None:
        headers.append((b"Transfer-Encoding", b"chunked"))
    client.write(hints + head(response.status, headers))
    if length is None:
        await _relay_chunked(record, client, response)
    else:
        await _relay_sized(record, client, response, length)
    await client.drained()


async def _relay_chunked(
    record: CallRecord, client: ClientConnection, response: ResponseHead
) -> None:
    body = response.body
    while data := await body.read():
        record.bytes_out += len(data)
        client.write(chunk(data))
        await client.drained()
    trailers = response_headers(response.trailers)
    await record.end(ResponseStatus(response.status))
    client.write(last_chunk(trailers))


async def _relay_sized(
    record: CallRecord, client: ClientConnection, response: ResponseHead, length: int
) -> None:
    body = response.body
    while data := await body.read():
        record.bytes_out += len(data)
        if record.bytes_out >= length:
            break
        client.write(data)
        await client.drained()
    await record.end(ResponseStatus(response.status))
    if data:
        client.write(data)
