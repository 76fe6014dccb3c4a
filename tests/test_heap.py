"""The C heap: what is freed in the middle of it goes back to the kernel when asked."""

import ctypes
import os

from proxy import heap
from proxy.heap import Thrift
from tests.bench.measure import resident

BLOCK = 2048
BLOCKS = 32 * 1024


def test_pages_between_what_is_in_use_are_given_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = []
    for _ in range(BLOCKS):
        block = libc.malloc(BLOCK)
        ctypes.memset(block, 1, BLOCK)
        blocks.append(block)
    kept = blocks[::64]  # one in 128 KiB, so that the end of the heap never moves
    for number, block in enumerate(blocks):
        if number % 64:
            libc.free(block)
    before = resident(os.getpid())
    heap.give_back()
    assert before - resident(os.getpid()) > BLOCK * BLOCKS / 2
    for block in kept:
        libc.free(block)


def test_it_is_done_once_after_many_when_none_follows() -> None:
    done: list[str] = []
    thrift = Thrift(3, lambda: done.append("given back"))

    def looks(*efforts: int) -> list[int]:
        found = []
        for many in efforts:
            for _ in range(many):
                thrift.count()
            thrift.look()
            found.append(len(done))
        return found

    assert looks(2, 0, 0) == [0, 0, 0]  # too few
    assert looks(1, 4, 1) == [0, 0, 0]  # many, but they go on
    assert looks(0, 0) == [1, 1]
    assert looks(2, 0, 1, 0) == [1, 1, 1, 2]
