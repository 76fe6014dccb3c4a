"""The queue before the disk: order, bounds, and who is told what."""

import asyncio

import pytest

from proxy.audit.journal.waiting import BATCH_BYTES, BATCH_RECORDS, Waiting
from proxy.audit.port import JournalUnavailableError


def a_future() -> asyncio.Future[int]:
    return asyncio.get_running_loop().create_future()


async def test_whoever_waits_gets_the_sequence_of_his_own_record() -> None:
    queue = Waiting(records=10, size=1000)
    first, second, later = a_future(), a_future(), a_future()
    queue.put(b"a", first)
    queue.put(b"b", None)
    queue.put(b"c", second)
    assert queue.take() == [b"a", b"b", b"c"]
    queue.put(b"d", later)
    assert queue.release(41) == 3
    assert (first.result(), second.result()) == (41, 43)
    assert not later.done()
    assert (queue.queued, queue.settled) == (4, 3)


@pytest.mark.parametrize(("records", "size"), [(2, 1000), (10, 2)], ids=["count", "bytes"])
async def test_a_full_queue_refuses_but_a_forced_record_passes(records: int, size: int) -> None:
    queue = Waiting(records=records, size=size)
    queue.put(b"a", None)
    queue.put(b"b", None)
    with pytest.raises(JournalUnavailableError, match="2 records wait"):
        queue.put(b"c", None)
    queue.force(b"why it is full")
    assert queue.take() == [b"a", b"b", b"why it is full"]


async def test_a_batch_is_bounded_and_the_rest_keeps_its_order() -> None:
    queue = Waiting(records=10_000, size=2**30)
    for number in range(BATCH_RECORDS + 5):
        queue.put(b"%d" % number, None)
    assert len(queue.take()) == BATCH_RECORDS
    queue.release(1)
    assert queue.take() == [b"%d" % number for number in range(BATCH_RECORDS, BATCH_RECORDS + 5)]
    queue.release(1)
    half = b"x" * (BATCH_BYTES // 2 + 1)
    for _ in range(3):
        queue.put(half, None)
    assert len(queue.take()) == 2


async def test_refusing_reaches_the_oldest_and_their_records_stay() -> None:
    queue = Waiting(records=10, size=1000)
    sent, queued, young = a_future(), a_future(), a_future()
    queue.put(b"sent", sent)
    queue.take()
    queue.put(b"queued", queued)
    queue.put(b"young", young)
    queue.refuse(2, "the disk hangs")
    for future in (sent, queued):
        assert isinstance(future.exception(), JournalUnavailableError)
    assert not young.done()
    assert queue.release(1) == 1
    assert queue.take() == [b"queued", b"young"]
    queue.release(2)
    assert young.result() == 3
