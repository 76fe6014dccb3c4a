"""Which postings a filter asks for. Pure; `proxy.audit.index.searching` reads them."""

from collections.abc import Iterator
from typing import NamedTuple

from proxy.audit.index.blocks import PLAIN, Field, network_of, posted, posted_code
from proxy.audit.index.query import Filter, Parsed, parse
from proxy.audit.resources import Resource


class Need(NamedTuple):
    """A block's places must be in the postings of any one of these values."""

    field: Field
    exact: tuple[bytes, ...]
    ranges: tuple[tuple[bytes, bytes], ...] = ()
    """Each from a value on, and before another."""


def needs(given: Filter) -> list[Need]:
    """What must hold of a place, the cheap and telling first. Free text comes on top of it.

    Raises InvalidInputError for a filter that cannot be read.
    """
    found = list(_needs(parse(given)))
    found.sort(key=lambda need: len(need.ranges))
    noise = (b"0", b"1") if given.include_noise else (b"0",)
    return [*found, Need(Field.NOISE, noise)]


def _needs(wanted: Parsed) -> Iterator[Need]:
    for column, exact, prefixes in wanted.texts:
        field = PLAIN.get(column)
        if field is not None and "" not in prefixes:
            yield Need(field, tuple(sorted(map(posted, exact))), tuple(map(_begins, prefixes)))
    if wanted.groups:
        yield Need(Field.GROUP, tuple(posted(needle[1:-1]) for needle in wanted.groups))
    if wanted.resources:
        yield Need(Field.RESOURCE, tuple(map(_resource, wanted.resources)))
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
