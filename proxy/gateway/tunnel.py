"""Upgraded calls: exec, attach, port-forward, cp. Bytes both ways, exactly as they came.

An upgrade has a cluster connection of its own that never came from the pool and never returns to
it. Only a 101 opens the tunnel; any other answer is passed on as an answer, so kubectl can fall
back, and both connections end. Taps see every byte before it is passed on.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from proxy.audit.event import ResponseStatus
from proxy.gateway.connection import ClientConnection
from proxy.gateway.exchange import Intended
from proxy.gateway.record import CallRecord
from proxy.gateway.responding import head
from proxy.kube.headers import response_headers
from proxy.upstream.connection import ResponseHead, UpstreamConnection
from proxy.upstream.pool import Pool
from proxy.upstream.request_head import encode

_MICROS: Final = 1_000_000

Tap = Callable[[bytes], None]
"""Sees bytes of one direction, in order, before they are forwarded."""


def no_tap(data: bytes) -> None:
    """Sees and keeps nothing."""


class Side(Protocol):
    """One end of a tunnel."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def pause_reading(self) -> None:
        """Stop taking bytes."""

    def resume_reading(self) -> None:
        """Take bytes again."""


class _Pipe:
    """What arrives on one side goes to the other; when that is full, this side stops reading."""

    def __init__(
        self,
        source: Side,
        sink: Side,
        count: Callable[[int], None],
        tap: Tap,
        ended: Callable[[], None],
    ) -> None:
        self._source = source
        self._sink = sink
        self._count = count
        self._tap = tap
        self._ended = ended

    def data(self, data: bytes) -> None:
        """Bytes arrived from the source."""
        self._count(len(data))
        self._tap(data)
        self._sink.write(data)

    def closed(self, error: Exception | None) -> None:
        """The source is gone."""
        del error
        self._ended()

    def pause(self) -> None:
        """The source's own send buffer is full: its opposite must stop reading."""
        self._sink.pause_reading()

    def resume(self) -> None:
        """The source can be written to again."""
        self._sink.resume_reading()


async def open_tunnel(intended: Intended, pool: Pool) -> tuple[UpstreamConnection, ResponseHead]:
    """Send the upgrade request on a new connection and wait for the answer. Raises UpstreamError."""
    cleared = intended.cleared
    routed = cleared.authorized.identified.described.routed
    request = routed.received.request
    target = cleared.authorized.target
    headers = cleared.headers
    if request.method != b"GET":
        headers.append((b"Content-Length", b"0"))
    upstream = await pool.connect(target)
    opened = False
    try:
        record = routed.received.record
        begun = record.elapsed
        record.forwarded = True
        response = await upstream.request(
            request.method, encode(request.method, target.base_path + routed.path, headers)
        )
        record.upstream_micros = int((record.elapsed - begun) * _MICROS)
        opened = True
        return upstream, response
    finally:
        if not opened:
            upstream.abort()


async def run_tunnel(
    record: CallRecord,
    client: ClientConnection,
    upstream: UpstreamConnection,
    response: ResponseHead,
    taps: tuple[Tap, Tap] = (no_tap, no_tap),
) -> None:
    """After a 101: record it, pass it on, and carry bytes until either side ends.

    `taps` see the bytes from the client and from the cluster. The outcome is durable before the
    client's side is closed.
    """
    client.reusable = False
    ended = asyncio.Event()

    def count_in(size: int) -> None:
        record.bytes_in += size

    def count_out(size: int) -> None:
        record.bytes_out += size

    try:
        await record.start(response.status)
        headers = response_headers(response.headers, upgrade=True)
        headers.append((b"Connection", b"Upgrade"))
        client.write(head(response.status, headers))
        upstream.upgrade(_Pipe(upstream, client, count_out, taps[1], ended.set))
        client.upgrade(_Pipe(client, upstream, count_in, taps[0], ended.set))
        await ended.wait()
        await record.end(ResponseStatus(response.status))
    finally:
        upstream.close()
