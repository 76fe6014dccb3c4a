"""Back-pressure while sending: writers wait, sinks are told, and what came early is kept for them."""

import asyncio

from proxy.upstream.sending import MAX_EARLY, SendingProtocol


class Sink:
    def __init__(self) -> None:
        self.told: list[str] = []

    def data(self, data: bytes) -> None:
        self.told.append(f"data {data!r}")

    def closed(self, error: Exception | None) -> None:
        self.told.append(f"closed {error}")

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


class Connection(SendingProtocol):
    """A connection whose peer is told to stop and to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = False
        self.told: list[str] = []

    def pause_reading(self) -> None:
        self.told.append("stop")

    def resume_reading(self) -> None:
        self.told.append("go on")


async def test_a_writer_waits_only_while_the_peer_is_slow() -> None:
    protocol = Connection()
    await protocol.drained()
    protocol.pause_writing()
    waiting = [asyncio.create_task(protocol.drained()) for _ in range(2)]
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert not waiting[1].done(), "a waiter that is cancelled must not release the others"
    protocol.resume_writing()
    await waiting[1]
    protocol.resume_writing()


async def test_a_sink_hears_of_every_pause_once() -> None:
    protocol, sink = Connection(), Sink()
    protocol.pause_writing()
    protocol.upgrade(sink)
    protocol.pause_writing()
    assert sink.told == ["pause"], "it came while nothing could be written"
    protocol.resume_writing()
    protocol.resume_writing()
    assert sink.told == ["pause", "resume"]


async def test_what_came_early_is_the_first_a_sink_gets() -> None:
    protocol, sink = Connection(), Sink()
    protocol._keep_early(b"one ")
    protocol._keep_early(b"two")
    protocol.upgrade(sink)
    assert (sink.told, protocol.told) == (["data b'one two'"], [])
    protocol.upgrade(sink)
    assert sink.told == ["data b'one two'"], "once"


async def test_too_much_of_it_makes_the_peer_stop_until_somebody_takes_it() -> None:
    protocol, sink = Connection(), Sink()
    protocol._keep_early(bytes(MAX_EARLY))
    assert protocol.told == []
    protocol._keep_early(b"1")
    protocol._keep_early(b"2")
    assert protocol.told == ["stop"]
    protocol.upgrade(sink)
    assert protocol.told == ["stop", "go on"]


async def test_a_sink_of_a_lost_connection_hears_the_end_behind_what_came() -> None:
    protocol, sink = Connection(), Sink()
    protocol._keep_early(b"last")
    protocol.lost = True
    protocol.upgrade(sink)
    assert sink.told == ["data b'last'", "closed None"]
