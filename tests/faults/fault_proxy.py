"""A TCP proxy that misbehaves when told to, and knows enough PostgreSQL to do so at a COMMIT.

It runs on the event loop of the test. What it does by chance follows from its seed.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

from tests.faults.postgres_wire import CommitFinder

_CHUNK: Final = 65_536
_LINGER: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends a reset."""


class Mode(StrEnum):
    """How connections fare."""

    PASS = "pass"
    REFUSE = "refuse"
    """Nobody listens; what is open stays."""
    BLACKHOLE = "blackhole"
    """Connections are taken, and bytes as well; nothing ever comes back."""
    TRICKLE = "trickle"
    """Both ways a few bytes at a time."""


class Cut(StrEnum):
    """Where a transaction is cut."""

    BEFORE = "before"
    """The server never sees the COMMIT."""
    RACE = "race"
    """The COMMIT is sent and both ends are cut at once: it may or may not happen."""
    AFTER = "after"
    """The server has committed; the client never hears of it."""
    MIDWAY = "midway"
    """The client gets the beginning of the server's answer, a byte at least."""


Plan = Callable[[int], Cut | None]
"""What to do with the COMMIT of this number (from 1); None lets it pass."""


class FaultProxy:
    """Listens on a loopback port of its own in front of `host`:`port`. A context manager."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", seed: int = 0) -> None:
        self.counts: Counter[str] = Counter()
        """`connections`, `commits`, and a cut of each kind."""
        self.latency = 0.0
        """Seconds each chunk is held up, both ways."""
        self.trickle_bytes = 16
        self.trickle_seconds = 0.001
        self._upstream = (host, port)
        self._random = random.Random(seed)
        self._plan: Plan = _nothing
        self._mode = Mode.PASS
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        # Bound for as long as we live, so that nobody gets our port while we refuse.
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_listening()
        links = list(self._links)
        self.cut()
        await asyncio.gather(*(link.ended.wait() for link in links))
        self._holder.close()

    def url(self, url: str) -> str:
        """`url` of the server behind us, through us."""
        parts = urlsplit(url)
        before, _, _ = parts.netloc.rpartition(":")
        return urlunsplit(parts._replace(netloc=f"{before}:{self.port}"))

    @property
    def mode(self) -> Mode:
        """How connections fare now."""
        return self._mode

    async def set_mode(self, mode: Mode) -> None:
        """Change how connections fare. What a blackhole swallowed is lost with its connection."""
        left, self._mode = self._mode, mode
        if mode is Mode.REFUSE:
            await self._stop_listening()
        elif left is Mode.REFUSE:
            await self._listen()
        if left is Mode.BLACKHOLE:
            self.cut()

    def at_commits(self, plan: Plan) -> None:
        """Ask `plan` at every COMMIT from now on."""
        self._plan = plan

    def cut_commits(self, share: float, kinds: tuple[Cut, ...] = tuple(Cut)) -> None:
        """Cut this share of all COMMITs, in ways and at moments that follow from the seed."""

        def plan(_: int) -> Cut | None:
            return self._random.choice(kinds) if self._random.random() < share else None

        self.at_commits(plan)

    def cut(self, most: int | None = None) -> int:
        """Reset every connection there is, or `most` of them by chance; how many it were."""
        links = list(self._links)
        if most is not None:
            links = self._random.sample(links, min(most, len(links)))
        for link in links:
            link.abort()
        return len(links)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=_bound(self.port))

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run(self._upstream)
        finally:
            self._links.discard(link)

    def next_commit(self) -> Cut | None:
        """What is to happen to a COMMIT that has just come in."""
        self.counts["commits"] += 1
        cut = self._plan(self.counts["commits"])
        if cut is not None:
            self.counts[cut.value] += 1
        return cut

    def part_of(self, data: bytes) -> bytes:
        """The beginning of an answer; not all of it."""
        return data[: self._random.randrange(1, max(2, len(data)))]


class _Link:
    """One client's connection and ours to the server."""

    def __init__(
        self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.ended = asyncio.Event()
        self._proxy = proxy
        self._client = (reader, writer)
        self._server_writer: asyncio.StreamWriter | None = None
        self._finder = CommitFinder()
        self._cut: Cut | None = None
        self._waiting = asyncio.Event()

    async def run(self, upstream: tuple[str, int]) -> None:
        """Until either side has ended or we were told to end both."""
        try:
            if self._proxy.mode is Mode.BLACKHOLE:
                await self._swallow(self._client[0])
                return
            reader, self._server_writer = await asyncio.open_connection(*upstream)
            async with asyncio.TaskGroup() as group:
                up = group.create_task(self._up(self._client[0], self._server_writer))
                down = group.create_task(self._down(reader, self._client[1]))
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                if not down.done() and self._cut is None:
                    # The client has said all it wants to; the server closes in its turn.
                    await asyncio.wait({down}, timeout=1.0)
                up.cancel()
                down.cancel()
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.abort()
            self.ended.set()

    def abort(self) -> None:
        """Reset both connections."""
        for writer in (self._client[1], self._server_writer):
            if writer is not None:
                _reset(writer)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            for piece, is_commit in self._finder.feed(data):
                if is_commit:
                    self._cut = self._proxy.next_commit()
                    if self._cut is Cut.BEFORE:
                        self.abort()
                        return
                await self._pass(writer, piece)
                if is_commit and self._cut is Cut.RACE:
                    self.abort()
                    return
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if self._cut is not None:
                if self._cut is Cut.MIDWAY:
                    writer.write(self._proxy.part_of(data))
                    await writer.drain()
                    writer.close()  # a reset would take back what we just sent
                self.abort()
                return
            await self._pass(writer, data)

    async def _pass(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        proxy = self._proxy
        if proxy.latency:
            await asyncio.sleep(proxy.latency)
        if proxy.mode is Mode.BLACKHOLE:
            return
        for piece in self._pieces(data):
            writer.write(piece)
            await writer.drain()
            if proxy.mode is Mode.TRICKLE:
                await asyncio.sleep(proxy.trickle_seconds)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        if self._proxy.mode is not Mode.TRICKLE:
            yield data
            return
        size = self._proxy.trickle_bytes
        for start in range(0, len(data), size):
            yield data[start : start + size]

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(_CHUNK):
            pass


def _reset(writer: asyncio.StreamWriter) -> None:
    if writer.is_closing():
        return
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.transport.abort()


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


def _nothing(_: int) -> Cut | None:
    return None
