"""Refusals of clients without a credential: a budget for each source, and one sum for the rest.

Whoever reaches a port of ours can be refused there as often as they like, so what each refusal
costs the journal must not be theirs to say. A source has so many a minute recorded one by one, and
all sources together a few times that; beyond it they are counted, and one event an interval says
how many there were, of what and from where. None is dropped in silence.
"""

import asyncio
import ipaddress
from collections import Counter, OrderedDict
from functools import lru_cache
from typing import Final

import structlog

from proxy.audit.event import SystemEvent, body, new_id
from proxy.audit.port import Journal, JournalUnavailableError
from proxy.clock import Clock, rfc3339
from proxy.metrics import Metrics

ACTION: Final = "refusals.sum"
INTERVAL: Final = 30.0
"""Seconds that refusals are counted for before their sum is recorded."""
SOURCES: Final = 10
"""All sources together have this many times the budget of one."""
TOLD: Final = 20
"""Sources that a sum names, those with most refusals; of the others it gives the number."""
STRANGE: Final = 256
"""Characters of each text of a client without a credential that a record keeps."""
_KEPT: Final = 4096
"""Sources whose budgets, and whose counts, are kept."""
_MINUTE: Final = 60.0
_IPV6_PREFIX: Final = 64
"""Whoever has one address of IPv6 has as many as this leaves."""
_log = structlog.get_logger(__name__)


class _Budget:
    """So many a minute, saved up for a minute at most."""

    __slots__ = ("_at", "_left", "_most")

    def __init__(self, most: int, now: float) -> None:
        self._most = most
        self._left = float(most)
        self._at = now

    def gain(self, now: float) -> bool:
        """Whether there is one to spend by now."""
        self._left = min(self._most, self._left + (now - self._at) * self._most / _MINUTE)
        self._at = now
        return self._left >= 1

    def spend(self) -> None:
        self._left -= 1


class _Sum:
    """Refusals that were counted and not recorded yet."""

    def __init__(self, now: float) -> None:
        self.first = self.last = now
        self.reasons: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()

    def add(self, source: str, reason: str, now: float) -> None:
        self.last = now
        self.reasons[reason] += 1
        if source in self.sources or len(self.sources) < _KEPT:
            self.sources[source] += 1

    def event(self, listener: str, now: float) -> SystemEvent:
        told = self.sources.most_common(TOLD)
        count = self.reasons.total()
        return SystemEvent(
            event_id=new_id(now),
            stage_timestamp=rfc3339(now),
            action=ACTION,
            source_ips=tuple(source for source, _ in told),
            target=listener,
            detail={
                "count": count,
                "first": rfc3339(self.first),
                "last": rfc3339(self.last),
                "reasons": dict(self.reasons),
                "sources": dict(told),
                "others": count - sum(many for _, many in told),
            },
        )


class Strangers:
    """The budget of one listener of one process. Used from one event loop only."""

    def __init__(
        self, listener: str, journal: Journal, clock: Clock, metrics: Metrics, *, per_minute: int
    ) -> None:
        """`listener` is `data` or `control`; `per_minute` what a source has recorded one by one."""
        self._listener = listener
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._most = per_minute
        self._all = _Budget(per_minute * SOURCES, clock.monotonic())
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()
        self._sum: _Sum | None = None
        self._timer: asyncio.TimerHandle | None = None

    def admits(self, source: str, reason: str) -> bool:
        """Whether a refusal is to be recorded by itself; if not, it is counted in the next sum.

        `reason` is one of `proxy.metrics.REFUSALS`, `source` an address.
        """
        now = self._clock.monotonic()
        budget = self._budget(_network(source), now)
        # Both are asked: who has used up their own must not use up everybody's.
        if budget.gain(now) and self._all.gain(now):
            budget.spend()
            self._all.spend()
            return True
        self._metrics.refusals_summed.labels(self._listener).inc()
        if self._sum is None:
            self._sum = _Sum(self._clock.now())
            self._begin()
        self._sum.add(source, reason, self._clock.now())
        return False

    def close(self) -> None:
        """Record what was counted; nothing is refused after this."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell()

    def _budget(self, network: str, now: float) -> _Budget:
        found = self._budgets.get(network)
        if found is None:
            if len(self._budgets) >= _KEPT:
                # Who comes back after this has their own again; that of all holds nevertheless.
                self._budgets.popitem(last=False)
            found = self._budgets[network] = _Budget(self._most, now)
        self._budgets.move_to_end(network)
        return found

    def _begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._due)

    def _due(self) -> None:
        if not self._tell():
            self._begin()

    def _tell(self) -> bool:
        """Whether the sum could be queued; what could not is kept, and added to."""
        if self._sum is None:
            return True
        try:
            self._journal.post(body(self._sum.event(self._listener, self._clock.now())))
        except JournalUnavailableError as error:
            count = self._sum.reasons.total()
            _log.warning("refusals could not be recorded", count=count, error=error.message)
            return False
        self._sum = self._timer = None
        return True


@lru_cache(maxsize=_KEPT)
def _network(source: str) -> str:
    """Whose budget an address draws on."""
    try:
        parsed = ipaddress.ip_address(source)
    except ValueError:
        return source
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        if mapped is not None:
            return str(mapped)
        return str(ipaddress.ip_network(f"{parsed}/{_IPV6_PREFIX}", strict=False))
    return source
