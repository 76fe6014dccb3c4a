"""Hearing of what other processes committed: LISTEN, on a connection of its own."""

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.audit.index.postgresql.connecting import connect, translated
from proxy.errors import UnavailableError
from proxy.state.roles import Role

CHANNEL: Final = "kubewitness_events"
_PROBE_SECONDS: Final = 10.0
"""Between questions that show whether the connection still lives."""
_ANSWER_SECONDS: Final = 5.0


async def hear(url: str, heard: Callable[[str, int], None]) -> None:
    """Call `heard` with writer and last sequence of each commit, until cancelled.

    A message is a hint: anybody with a login can send one. Raises UnavailableError when the
    connection ends.
    """
    ended = asyncio.Event()

    def receive(_connection: object, _pid: int, _channel: str, message: object) -> None:
        writer, _, seq = str(message).rpartition(" ")
        if writer and seq.isascii() and seq.isdecimal() and len(seq) < 19:
            heard(writer, int(seq))

    connection = await connect(url, Role.READER)
    try:
        with translated():
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(CHANNEL, receive)
            while not ended.is_set():
                try:
                    async with asyncio.timeout(_PROBE_SECONDS):
                        await ended.wait()
                except TimeoutError:
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await connection.execute("SELECT 1")
        raise UnavailableError("PostgreSQL ended the connection that tells of new records.")
    finally:
        connection.terminate()
