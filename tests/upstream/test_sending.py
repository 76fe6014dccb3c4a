"""Back-pressure of the sending side: writers wait, sinks are told, nobody waits for ever."""

import asyncio

from proxy.upstream.sending import SendingProtocol


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


async def test_a_writer_waits_only_while_the_peer_is_slow() -> None:
    protocol = SendingProtocol()
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
    protocol, sink = SendingProtocol(), Sink()
    protocol.pause_writing()
    protocol._deliver_to(sink)
    protocol.pause_writing()
    assert sink.told == ["pause"], "it came while nothing could be written"
    protocol.resume_writing()
    protocol.resume_writing()
    assert sink.told == ["pause", "resume"]
