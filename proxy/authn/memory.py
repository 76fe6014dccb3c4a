"""What was seen of users and their credentials, in memory: where they were used from, and when.

Asked and told once a call, so everything here is a look-up. It is bounded: a user keeps the
addresses of the largest network last, so that nobody drives out the others with many of one.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from proxy.state.sightings import Key, Sighting

USERS: Final = 50_000
CREDENTIALS: Final = 100_000
"""Those kept in memory; of more, the ones not seen for longest are forgotten."""
ADDRESSES: Final = 256
"""Addresses kept of one user, and of one credential, in memory and in the database."""
WHOLE: Final = ""
"""The credential of what is seen of a user as a whole."""


class Place(NamedTuple):
    """An address and the network it is in."""

    address: str
    """As people write it: IPv4 without the form it has on an IPv6 socket."""
    network: str


@lru_cache(maxsize=16_384)
def place_of(address: str, ipv4_prefix: int, ipv6_prefix: int) -> Place:
    """The place of an address; of what is none, itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return Place(address, address)
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    bits = ipv4_prefix if parsed.version == 4 else ipv6_prefix
    network = ipaddress.ip_network(f"{parsed}/{bits}", strict=False)
    return Place(str(parsed), str(network))


class Seen:
    """Calls from one address."""

    __slots__ = ("first", "last", "place", "told")

    def __init__(self, place: Place, first: float, last: float) -> None:
        self.place = place
        self.first = first
        self.last = last
        self.told = 0
        """Calls that are not in the database yet."""


class Subject:
    """A user or a credential: where it was used from."""

    __slots__ = ("last", "networks", "places")

    def __init__(self) -> None:
        self.places: dict[str, Seen] = {}
        self.networks: dict[str, float] = {}
        """By network, when it was last used from there."""
        self.last = 0.0

    def meet(self, place: Place, first: float, last: float) -> Seen:
        """Note that it was used from a place, from one moment to another."""
        seen = self.places.get(place.address)
        if seen is None:
            seen = self.places[place.address] = Seen(place, first, last)
        else:
            seen.first = min(seen.first, first)
            seen.last = max(seen.last, last)
        if last > self.networks.get(place.network, 0.0):
            self.networks[place.network] = last
        self.last = max(self.last, last)
        return seen

    def excess(self) -> list[str]:
        """Addresses that are too many, taken out: the oldest of the network that has most."""
        gone = []
        while len(self.places) > ADDRESSES:
            counts: dict[str, list[Seen]] = {}
            for seen in self.places.values():
                counts.setdefault(seen.place.network, []).append(seen)
            largest = max(counts.values(), key=len)
            oldest = min(largest, key=lambda seen: seen.last)
            del self.places[oldest.place.address]
            gone.append(oldest.place.address)
            if len(largest) == 1:
                self.networks.pop(oldest.place.network, None)
        return gone


class Memory:
    """Of all users and credentials."""

    def __init__(self, now: float) -> None:
        self.users: dict[str, Subject] = {}
        self.credentials: dict[str, Subject] = {}
        """By serial."""
        self.since = now
        """From when on anything was seen at all; before that, silence means nothing."""
        self._dirty: set[Key] = set()
        self._gone: set[Key] = set()

    def note(self, user: str, credential: str, place: Place, now: float) -> None:
        """One call."""
        self._meet(user, credential, place, now, calls=1)

    def touch(self, user: str, credential: str, place: Place, now: float) -> None:
        """A call that was noted goes on."""
        self._meet(user, credential, place, now, calls=0)

    def _meet(self, user: str, credential: str, place: Place, now: float, *, calls: int) -> None:
        for subjects, name, key in (
            (self.users, user, (user, WHOLE, place.address)),
            (self.credentials, credential, (user, credential, place.address)),
        ):
            subject = subjects.get(name)
            if subject is None:
                subject = subjects[name] = Subject()
            seen = subject.meet(place, now, now)
            seen.told += calls
            self._dirty.add(key)
            self._evict(subject, key)

    def learn(self, sightings: Iterable[Sighting], ipv4_prefix: int, ipv6_prefix: int) -> None:
        """Take over what was read: of the time before, of other processes and replicas."""
        for one in sightings:
            subjects = self.credentials if one.credential else self.users
            name = one.credential or one.user
            subject = subjects.get(name)
            if subject is None:
                subject = subjects[name] = Subject()
            place = place_of(one.address, ipv4_prefix, ipv6_prefix)
            subject.meet(place, one.first_seen, one.last_seen)
            self.since = min(self.since, one.first_seen)
            self._evict(subject, one.key)

    def take(self) -> tuple[list[Sighting], list[Key]]:
        """What is to be written, and what to be removed; both count as done from here on."""
        seen = []
        for key in self._dirty:
            found = self._find(key)
            if found is not None:
                seen.append(Sighting(*key, found.first, found.last, found.told))
                found.told = 0
        gone = list(self._gone)
        self._dirty, self._gone = set(), set()
        return seen, gone

    def give_back(self, seen: Iterable[Sighting], gone: Iterable[Key]) -> None:
        """They could not be written: the next `take` has them again."""
        for one in seen:
            found = self._find(one.key)
            if found is not None:
                found.told += one.calls
                self._dirty.add(one.key)
        self._gone.update(gone)

    def _find(self, key: Key) -> Seen | None:
        user, credential, address = key
        subject = self.credentials.get(credential) if credential else self.users.get(user)
        return None if subject is None else subject.places.get(address)

    def _evict(self, subject: Subject, key: Key) -> None:
        if len(subject.places) > ADDRESSES:
            user, credential, _ = key
            self._gone.update((user, credential, address) for address in subject.excess())

    def trim(self, users: int = USERS, credentials: int = CREDENTIALS) -> None:
        """Forget the users and credentials not seen for longest, if there are more than that."""
        for subjects, most in ((self.users, users), (self.credentials, credentials)):
            if len(subjects) > most:
                oldest = sorted(subjects, key=lambda name: subjects[name].last)
                for name in oldest[: len(subjects) - most * 9 // 10]:
                    del subjects[name]
