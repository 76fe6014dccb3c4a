"""What is remembered of users and credentials, and how much of it at most."""

import pytest

from proxy.authn.memory import ADDRESSES, Memory, Place, place_of
from proxy.state.sightings import Sighting


def place(address: str) -> Place:
    return place_of(address, 24, 64)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.1.2.3", Place("10.1.2.3", "10.1.2.0/24")),
        ("::ffff:10.1.2.3", Place("10.1.2.3", "10.1.2.0/24")),
        ("2001:db8:0:1::7", Place("2001:db8:0:1::7", "2001:db8:0:1::/64")),
        ("somewhere", Place("somewhere", "somewhere")),
    ],
)
def test_places(address: str, found: Place) -> None:
    assert place(address) == found


def test_a_call_is_remembered_of_the_user_and_of_the_credential() -> None:
    kept = Memory(100.0)
    kept.note("alice", "a1", place("10.0.0.1"), 100.0)
    kept.note("alice", "a2", place("10.0.0.1"), 105.0)
    seen, gone = kept.take()
    assert sorted(seen, key=lambda one: one.key) == [
        Sighting("alice", "", "10.0.0.1", 100.0, 105.0, 2),
        Sighting("alice", "a1", "10.0.0.1", 100.0, 100.0, 1),
        Sighting("alice", "a2", "10.0.0.1", 105.0, 105.0, 1),
    ]
    assert gone == []
    assert kept.take() == ([], [])


def test_what_could_not_be_written_is_there_again_and_added_to() -> None:
    kept = Memory(100.0)
    kept.note("alice", "a1", place("10.0.0.1"), 100.0)
    kept.give_back(*kept.take())
    kept.note("alice", "a1", place("10.0.0.1"), 101.0)
    seen, _ = kept.take()
    assert {one.credential: (one.calls, one.last_seen) for one in seen} == {
        "": (2, 101.0),
        "a1": (2, 101.0),
    }


def test_what_others_saw_is_known_and_not_written_again() -> None:
    kept = Memory(100.0)
    kept.learn([Sighting("alice", "", "10.0.0.1", 20.0, 90.0, 7)], 24, 64)
    kept.learn([Sighting("alice", "a1", "10.0.0.1", 30.0, 80.0, 7)], 24, 64)
    assert (kept.users["alice"].last, kept.credentials["a1"].last, kept.since) == (90.0, 80.0, 20.0)
    assert kept.take() == ([], [])
    kept.note("alice", "a1", place("10.0.0.1"), 100.0)
    seen, _ = kept.take()
    assert {(one.first_seen, one.last_seen, one.calls) for one in seen} == {
        (20.0, 100.0, 1),
        (30.0, 100.0, 1),
    }


def test_many_addresses_of_one_network_do_not_drive_out_the_others() -> None:
    kept = Memory(0.0)
    kept.note("alice", "a1", place("10.0.0.1"), 1.0)
    kept.take()
    for number in range(2 * ADDRESSES):
        kept.note("alice", "a1", place(f"2001:db8::{number:x}"), 2.0 + number)
    user = kept.users["alice"]
    assert len(user.places) == ADDRESSES
    assert set(user.networks) == {"10.0.0.0/24", "2001:db8::/64"}
    assert "10.0.0.1" in user.places
    seen, gone = kept.take()
    assert len(seen) == 2 * (ADDRESSES - 1), "not those that are forgotten again"
    assert len(gone) == 2 * (ADDRESSES + 1)
    assert not {one.key for one in seen} & set(gone)


def test_a_network_is_forgotten_with_its_last_address() -> None:
    kept = Memory(0.0)
    for number in range(ADDRESSES + 1):
        kept.note("alice", "a1", place(f"10.{number // 250}.{number % 250}.1"), float(number))
    assert len(kept.users["alice"].networks) == ADDRESSES
    assert "10.0.0.0/24" not in kept.users["alice"].networks


def test_those_not_seen_for_longest_are_forgotten() -> None:
    kept = Memory(0.0)
    for number in range(11):
        kept.note(f"user-{number}", f"c-{number}", place("10.0.0.1"), 100.0 - number)
    kept.trim(users=10)
    assert list(kept.users) == [f"user-{number}" for number in range(9)]
    assert len(kept.credentials) == 11
