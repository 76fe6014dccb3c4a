"""Open streams are counted, and nothing is kept of those that ended."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.authn.memory import place_of
from proxy.authn.streams import OpenStreams, Stream

STREAMS = [
    Stream(user, serial, place_of(address, 24, 64))
    for user, serial in (("alice", "a1"), ("bob", "b1"))
    for address in ("203.0.113.7", "203.0.113.8", "192.0.2.44")
]


@given(begun=st.lists(st.sampled_from(STREAMS), max_size=30), rest=st.integers(0, 30))
def test_what_is_open_is_what_began_and_has_not_ended(begun: list[Stream], rest: int) -> None:
    streams = OpenStreams()
    for stream in begun:
        streams.begin(stream)
    for stream in begun[rest:]:
        streams.end(stream)
    left = begun[:rest]
    assert set(streams.all()) == set(left)
    for serial in ("a1", "b1", "c1"):
        networks = {stream.place.network for stream in left if stream.serial == serial}
        assert set(streams.networks(serial)) == networks


def test_of_what_ended_nothing_is_kept() -> None:
    streams = OpenStreams()
    for stream in STREAMS:
        streams.begin(stream)
        streams.end(stream)
    assert (len(streams._open), len(streams._networks)) == (0, 0)
