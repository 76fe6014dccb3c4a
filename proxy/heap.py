"""The C heap of this process, of which TLS takes most: when it keeps memory, and when it gives it back.

Only glibc's can be told; other C libraries have neither call, and these functions do nothing there.
"""

import ctypes
from collections.abc import Callable
from typing import Final

from proxy.settings import MIB

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3


def keep_buffers() -> None:
    """Keep the memory of large buffers instead of giving each back to the kernel.

    A TLS read makes a buffer of 256 KiB. By default it is mapped and unmapped, or trimmed off the
    heap, every time, and a large list spends a third of its time in page faults (mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, MIB)
        mallopt(_TRIM_THRESHOLD, 8 * MIB)


def give_back() -> None:
    """Give the whole pages between what is in use back to the kernel (malloc_trim(3)).

    Takes some ms with thousands of connections, and the next buffers cost page faults again: for
    quiet moments.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


class Thrift:
    """Gives back what many short efforts left of the heap, once there are no more for a while."""

    def __init__(self, many: int, give_back: Callable[[], None] = give_back) -> None:
        """`many` efforts are worth it."""
        self._many = many
        self._give_back = give_back
        self._efforts = self._seen = 0

    def count(self) -> None:
        """One more effort, such as a handshake, has left holes."""
        self._efforts += 1

    def look(self) -> None:
        """To be called now and then: does it when there were many, and none since the last look."""
        if self._efforts == self._seen and self._efforts >= self._many:
            self._give_back()
            self._efforts = 0
        self._seen = self._efforts
