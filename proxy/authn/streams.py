"""Open streams, by credential: somebody who watches, or sits in a pod, is there all the time.

A call is one moment; a shell may be open for hours. Each counts as a use from its network for as
long as it is open.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from proxy.authn.memory import Place

_Key = TypeVar("_Key")


class Stream(NamedTuple):
    """Where streams of one credential come from."""

    user: str
    serial: str
    """Of the credential."""
    place: Place


class OpenStreams:
    """Of one process."""

    def __init__(self) -> None:
        self._open: Counter[Stream] = Counter()
        self._networks: dict[str, Counter[str]] = {}

    def begin(self, stream: Stream) -> None:
        """One more is open."""
        self._open[stream] += 1
        self._networks.setdefault(stream.serial, Counter())[stream.place.network] += 1

    def end(self, stream: Stream) -> None:
        """One of them has ended."""
        networks = self._networks[stream.serial]
        _less(self._open, stream)
        _less(networks, stream.place.network)
        if not networks:
            del self._networks[stream.serial]

    def networks(self, serial: str) -> Iterable[str]:
        """Those that a credential has streams open from."""
        return self._networks.get(serial, ())

    def all(self) -> Iterable[Stream]:
        """Each that is open, once."""
        return tuple(self._open)


def _less(counter: Counter[_Key], key: _Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
