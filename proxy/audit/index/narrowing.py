"""Which postings a filter asks for. Pure; `proxy.audit.index.searching` reads them."""

from collections import defaultdict
from collections.abc import Iterator, Set
from typing import Final, NamedTuple

from proxy.audit.index.blocks import PLAIN, Field, network_of, posted, posted_code
from proxy.audit.index.query import Filter, Parsed, Within, parse
from proxy.audit.index.rows import EVENT
from proxy.audit.resources import Resource


class Need(NamedTuple):
    """A block's places must be in the postings of any one of these values."""

    field: Field
    exact: tuple[bytes, ...]
    ranges: tuple[tuple[bytes, bytes], ...] = ()
    """Each from a value on, and before another."""

    def values(self) -> Iterator[bytes]:
        """Every value that is compared with."""
        yield from self.exact
        for bounds in self.ranges:
            yield from bounds


class AnyWay(NamedTuple):
    """A block's places must meet all needs of any one of these ways."""

    ways: tuple[tuple["Need | AnyWay", ...], ...]

    def values(self) -> Iterator[bytes]:
        """Every value that is compared with."""
        for way in self.ways:
            for need in way:
                yield from need.values()


_CALL: Final = posted(EVENT)
_CALLS: Final = Need(Field.KIND, (_CALL,))
_ANY_FLAG: Final = Need(Field.SUSPICIOUS, (), ((b"", b"\xff"),))
_NO_CALLS: Final = Need(Field.KIND, (), ((b"", _CALL), (_CALL + b"\0", b"\xff")))


def needs(given: Filter, *, exact: bool = False) -> list[Need | AnyWay]:
    """What must hold of a place, the cheap and telling first. Free text comes on top of it.

    With `exact`, also what hardly ever makes a difference, for who compares nothing afterwards.
    Raises InvalidInputError for a filter that cannot be read.
    """
    asked = sorted(_needs(parse(given)), key=lambda need: len(need.ranges))
    cheap = [need for need in asked if not need.ranges]
    # Nearly all are calls, so their kind says little, and much is read to learn it.
    telling = [need for need in cheap if need.field is not Field.KIND]
    kinds = [need for need in cheap if need.field is Field.KIND]
    seen = [] if given.within is None else [_visible(given.within, exact=exact)]
    noise = Need(Field.NOISE, (b"0", b"1") if given.include_noise else (b"0",))
    return [*telling, *seen, *kinds, *asked[len(cheap) :], noise]


def _visible(within: Within, *, exact: bool) -> AnyWay:
    """See `proxy.audit.index.query.visible`."""
    ways: list[tuple[Need | AnyWay, ...]] = []
    if within.user:
        ways.append((_exactly(Field.USER, {within.user}),))
    if within.calls:
        ways.append((_CALLS,))
    elif places := tuple(_places(within)):
        # What is no call is in no cluster, as far as we write it.
        ways += [(AnyWay(places), _CALLS)] if exact else places
    if within.system:
        ways.append((_NO_CALLS,))
    return AnyWay(tuple(ways))


def _places(within: Within) -> Iterator[tuple[Need, ...]]:
    """Whole clusters; and together, all clusters of which the same namespaces are seen."""
    if clusters := {cluster for cluster in within.clusters if cluster}:
        yield (_exactly(Field.CLUSTER, clusters),)
    of_cluster: defaultdict[str, set[str]] = defaultdict(set)
    for cluster, namespace in within.namespaces:
        if cluster and namespace:
            of_cluster[cluster].add(namespace)
    alike: defaultdict[frozenset[str], set[str]] = defaultdict(set)
    for cluster, namespaces in of_cluster.items():
        alike[frozenset(namespaces)].add(cluster)
    for some, shared in alike.items():
        yield (_exactly(Field.NAMESPACE, some), _exactly(Field.CLUSTER, shared))


def _exactly(field: Field, values: Set[str]) -> Need:
    return Need(field, tuple(sorted(map(posted, values))))


def _needs(wanted: Parsed) -> Iterator[Need]:
    for column, exact, prefixes in wanted.texts:
        field = PLAIN.get(column)
        if field is not None and "" not in prefixes:
            yield Need(field, tuple(sorted(map(posted, exact))), tuple(map(_begins, prefixes)))
    if wanted.groups:
        yield Need(Field.GROUP, tuple(posted(needle[1:-1]) for needle in wanted.groups))
    if wanted.resources:
        yield Need(Field.RESOURCE, tuple(map(_resource, wanted.resources)))
    if wanted.flags:
        flags = tuple(posted(flag[1:-1]) for flag in wanted.flags)
        yield _ANY_FLAG if b"" in flags else Need(Field.SUSPICIOUS, flags)
    if wanted.codes:
        some = [(low, high) for low, high in wanted.codes if low <= high]
        yield _any_of(Field.CODE, [(posted_code(low), posted_code(high)) for low, high in some])
    if wanted.networks:
        if all(map(_is_whole, wanted.networks)):
            yield Need(Field.NETWORK, (), tuple(map(_whole, wanted.networks)))
        else:
            yield _any_of(Field.SOURCE, [(posted(a), posted(b)) for a, b in wanted.networks])


def _begins(prefix: str) -> tuple[bytes, bytes]:
    first = posted(prefix)
    return first, first[:-1] + bytes([first[-1] + 1])  # UTF-8 has no byte 255


def _is_whole(network: tuple[str, str]) -> bool:
    """Whether an address range is one of whole networks, as they are posted."""
    low, high = network
    first, last = network_of(low), network_of(high)
    return (
        len(first) == len(last)
        and not low[len(first) :].strip("0")
        and not high[len(last) :].strip("f")
    )


def _whole(network: tuple[str, str]) -> tuple[bytes, bytes]:
    low, high = map(network_of, network)
    # Behind every digit: a range of IPv6 may hold the longer names of IPv4 networks.
    return posted(low), posted(high + "g")


def _any_of(field: Field, inclusive: list[tuple[bytes, bytes]]) -> Need:
    return Need(
        field,
        tuple(low for low, high in inclusive if low == high),
        tuple((low, high + b"\0") for low, high in inclusive if low < high),
    )


def _resource(wanted: Resource) -> bytes:
    if wanted.subresource:
        return posted(f"{wanted.resource}/{wanted.subresource}")
    if wanted.api_group:
        return posted(f"{wanted.resource}.{wanted.api_group}")
    return posted(wanted.resource)
