"""A question of our own to a cluster: one small request, one small answer."""

import asyncio
from typing import Final

from proxy.upstream.cluster import Target
from proxy.upstream.connection import UpstreamError
from proxy.upstream.pool import Pool
from proxy.upstream.request_head import encode

MAX_ANSWER: Final = 1024 * 1024
TIMEOUT: Final = 10.0
"""Seconds a cluster may take to answer."""


async def ask(
    pool: Pool,
    target: Target,
    method: bytes,
    path: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes = b"",
) -> tuple[int, bytes]:
    """Send one JSON request with the proxy's own credential and return (status, body).

    Raises UpstreamError when the cluster cannot be reached, is too slow, or says more than 1 MiB.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _ask(pool, target, method, path, headers, body)
    except TimeoutError as error:
        raise UpstreamError(
            f"cluster {target.name}: no answer to {path.decode()} within {TIMEOUT:g} s"
        ) from error


async def _ask(
    pool: Pool,
    target: Target,
    method: bytes,
    path: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
) -> tuple[int, bytes]:
    head = [(b"Host", target.host_header), *headers, (b"Accept", b"application/json")]
    own = target.authorization()
    if own is not None:
        head.append((b"Authorization", own))
    if body:
        head.append((b"Content-Type", b"application/json"))
        head.append((b"Content-Length", b"%d" % len(body)))
    connection = await pool.acquire(target)
    done = False
    try:
        response = await connection.request(
            method, encode(method, target.base_path + path, head) + body
        )
        answer = b""
        while data := await response.body.read():
            answer += data
            if len(answer) > MAX_ANSWER:
                raise UpstreamError(
                    f"cluster {target.name}: the answer to {path.decode()} is over 1 MiB"
                )
        done = True
        return response.status, answer
    finally:
        if done:
            pool.release(target, connection)
        else:
            connection.abort()
