"""Time, handed in: everything that reads a clock takes one, so tests can own time."""

import functools
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The two clocks of a process."""

    def now(self) -> float:
        """Wall time: seconds since the Unix epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never steps; only differences mean something."""
        ...


class SystemClock:
    """The machine's clocks. The one place in the package that reads them."""

    now = staticmethod(time.time)  # noqa: TID251
    monotonic = staticmethod(time.monotonic)  # noqa: TID251


class ManualClock:
    """A clock for tests: it stands still until `advance` is called."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        """The wall time last set."""
        return self._now

    def monotonic(self) -> float:
        """Seconds advanced since the clock was made."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._now += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Step the wall clock only, as an administrator or NTP does."""
        self._now += seconds


@functools.lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def rfc3339(seconds: float) -> str:
    """`seconds` since the epoch as RFC 3339 in UTC with six fractional digits, as audit.k8s.io/v1 writes it."""
    # Several a call, most of them in the same second: only the fraction is formatted each time.
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}{micros:06}Z"
