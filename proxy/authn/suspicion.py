"""Whether a use of a credential is out of the ordinary: decided in memory, before it is recorded.

Nothing is refused here. Each flag says one thing once: what stays as it is (a second network, the
night) is not told again with every call. Bursts are counted by each process for itself.
"""

from collections import deque
from typing import Final, NamedTuple

from proxy.audit.flags import Flag, joined
from proxy.authn.memory import Memory, Place, Seen, Subject, place_of
from proxy.authn.streams import OpenStreams, Stream
from proxy.clock import Clock
from proxy.hours import WorkingHours
from proxy.metrics import Metrics
from proxy.suspicious import Suspicious

_DAY: Final = 86_400.0
_MINUTE: Final = 60.0
_REPEAT: Final = 3_600.0
"""Seconds after which what is still so is told again."""
_POOL: Final = 3
"""From more addresses than these a network is one whose users change address as it pleases."""
_MOST: Final = 20_000
"""Credentials whose bursts, and flags whose times, are remembered; then all are forgotten."""


class Use(NamedTuple):
    """One use of a credential that was accepted."""

    user: str
    serial: str
    """Of the credential."""
    issued_at: float
    address: str
    machine: bool = False
    """Whether it belongs to a service, which has no working hours."""
    secrets: int = 0
    """Reads of secrets that it counts as."""
    lists_all_secrets: bool = False
    """Whether it lists or watches the secrets of all namespaces."""


class Suspicion:
    """What this process knows and thinks of the uses of credentials."""

    def __init__(self, settings: Suspicious, *, clock: Clock, metrics: Metrics) -> None:
        self.settings = settings
        self.memory = Memory(clock.now())
        self._streams = OpenStreams()
        self._refreshed = clock.monotonic()
        self._clock = clock
        self._metrics = metrics
        self._hours = WorkingHours.parse(settings.hours) if settings.hours else None
        self._told: dict[tuple[str, Flag, str], float] = {}
        self._denials: dict[str, deque[float]] = {}
        self._secrets: dict[str, deque[float]] = {}
        self._due: set[str] = set()

    def look(self, use: Use) -> str:
        """The flags of a use, as a record has them; empty when it is an ordinary one."""
        settings = self.settings
        if not settings.enabled:
            return ""
        now, serial = self._clock.now(), use.serial
        place = place_of(use.address, settings.ipv4_prefix, settings.ipv6_prefix)
        user = self.memory.users.get(use.user)
        own = self.memory.credentials.get(serial)
        flags: list[Flag] = []
        if user is not None and user.places:
            flags += self._of_place(user, place, now)
        if own is not None and self._elsewhere(own, place, serial, now):
            flags.append(Flag.TWO_NETWORKS)
        if self._silent(user, own, use, now):
            flags.append(Flag.LONG_SILENCE)
        if self._off_hours(use, now):
            flags.append(Flag.OFF_HOURS)
        if _burst(self._secrets, serial, settings.secret_reads, now, weight=use.secrets):
            flags.append(Flag.SECRET_BURST)
        if use.lists_all_secrets and self._is_new_list(serial, now):
            flags.append(Flag.SECRET_LIST)
        if serial in self._due:
            self._due.discard(serial)
            flags.append(Flag.DENIAL_BURST)
        self.memory.note(use.user, serial, place, now)
        return self._counted(flags)

    def opened(self, user: str, serial: str, address: str) -> Stream:
        """A stream is open from here on; hand what this returns to `closed`."""
        place = place_of(address, self.settings.ipv4_prefix, self.settings.ipv6_prefix)
        stream = Stream(user, serial, place)
        self._streams.begin(stream)
        return stream

    def closed(self, stream: Stream) -> None:
        """It has ended: until now its credential was in use there."""
        self._streams.end(stream)
        if self.settings.enabled:
            self._still(stream)

    def refresh(self) -> None:
        """Note that open streams are still in use, now and then, for other processes to know."""
        now, within = self._clock.monotonic(), self.settings.two_networks_seconds
        if within and now - self._refreshed >= within / 3:
            self._refreshed = now
            for stream in self._streams.all():
                self._still(stream)

    def _still(self, stream: Stream) -> None:
        self.memory.touch(stream.user, stream.serial, stream.place, self._clock.now())

    def denied(self, serial: str) -> str:
        """A call with a credential is being refused; the flag of a burst when that completes one."""
        burst = self._denials_burst(serial)
        if serial in self._due:
            self._due.discard(serial)
            burst = True
        return self._counted([Flag.DENIAL_BURST] if burst else [])

    def denied_before(self, serial: str) -> None:
        """A call was refused that has no record of its own: a burst is told with the next one."""
        if self._denials_burst(serial):
            self._due.add(serial)

    def _denials_burst(self, serial: str) -> bool:
        settings = self.settings
        return (
            settings.enabled
            and serial != ""
            and _burst(self._denials, serial, settings.denials, self._clock.now())
        )

    def _counted(self, flags: list[Flag]) -> str:
        for flag in flags:
            self._metrics.suspicious.labels(flag.value).inc()
        return joined(flags) if flags else ""

    def _of_place(self, user: Subject, place: Place, now: float) -> list[Flag]:
        """A place of a user who was seen before."""
        if place.address in user.places:
            return []
        if place.network not in user.networks:
            return [Flag.NEW_ADDRESS, Flag.NEW_NETWORK]
        # Behind a pool of addresses a new one of them says nothing: only where somebody has kept
        # to few of them for long.
        known = [seen for seen in user.places.values() if seen.place.network == place.network]
        return [Flag.NEW_ADDRESS] if self._settled(known, now) else []

    def _settled(self, known: list[Seen], now: float) -> bool:
        days = self.settings.settled_days
        if days == 0:
            return True
        newest = max((seen.first for seen in known), default=now)
        return len(known) <= _POOL and now - newest >= days * _DAY

    def _elsewhere(self, own: Subject, place: Place, serial: str, now: float) -> bool:
        """Whether the credential was used from another network a moment ago, or is in use there.

        Of the other family of addresses it proves nothing: one machine may well have both.
        """
        within = self.settings.two_networks_seconds
        if not within:
            return False
        near = {network for network, last in own.networks.items() if now - last < within}
        near.update(self._streams.networks(serial))
        for network in near:
            if network != place.network and (":" in network) == (":" in place.network):
                return self._is_news((serial, Flag.TWO_NETWORKS, place.network), now)
        return False

    def _silent(self, user: Subject | None, own: Subject | None, use: Use, now: float) -> bool:
        days = self.settings.silence_days
        if not days:
            return False
        # What was before anything was seen at all is not known to have been silence.
        last = own.last if own is not None else max(use.issued_at, self.memory.since)
        if own is None and user is not None and user.places:
            last = min(last, user.last)
        return now - last >= days * _DAY

    def _off_hours(self, use: Use, now: float) -> bool:
        if self._hours is None or use.machine or self._hours.cover(now):
            return False
        return self._is_news((use.serial, Flag.OFF_HOURS, ""), now)

    def _is_new_list(self, serial: str, now: float) -> bool:
        return self.settings.secret_lists and self._is_news((serial, Flag.SECRET_LIST, ""), now)

    def _is_news(self, what: tuple[str, Flag, str], now: float) -> bool:
        """Whether it was not told within the last hour."""
        if now - self._told.get(what, 0.0) < _REPEAT:
            return False
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told[what] = now
        return True


def _burst(
    times: dict[str, deque[float]], serial: str, many: int, now: float, *, weight: int = 1
) -> bool:
    """Note one more, or `weight`, and say whether that makes `many` within a minute; then it begins
    anew."""
    if not many or not weight:
        return False
    recent = times.get(serial)
    if recent is None:
        if len(times) >= _MOST:
            times.clear()
        recent = times[serial] = deque(maxlen=many)
    recent.extend([now] * weight)
    if len(recent) < many or now - recent[0] > _MINUTE:
        return False
    recent.clear()
    return True
