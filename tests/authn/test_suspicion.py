"""What is out of the ordinary, and what is not: a user's days, in virtual time."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.flags import Flag
from proxy.authn.suspicion import Suspicion, Use
from proxy.clock import ManualClock
from proxy.metrics import Metrics
from proxy.suspicious import Suspicious

DAY = 86_400.0
HOME, OFFICE, CAFE = "203.0.113.7", "198.51.100.20", "192.0.2.44"


class Watched:
    """A suspicion, and calls to it."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.suspicion = Suspicion(Suspicious(**settings), clock=self.clock, metrics=self.metrics)
        self.issued_at = self.clock.now()

    def use(
        self,
        address: str,
        *,
        user: str = "alice",
        serial: str = "a1",
        after: float = 1.0,
        **more: Any,
    ) -> str:
        self.clock.advance(after)
        return self.suspicion.look(Use(user, serial, self.issued_at, address, **more))

    def count(self, flag: Flag) -> float:
        found = self.metrics.registry.get_sample_value(
            "kubewitness_suspicious_total", {"flag": flag.value}
        )
        assert found is not None
        return found


def test_the_first_use_ever_is_ordinary() -> None:
    watched = Watched()
    assert watched.use(HOME) == ""
    assert watched.use(HOME) == ""


def test_a_new_network_is_flagged_once() -> None:
    watched = Watched(two_networks_seconds=0)
    watched.use(HOME)
    assert watched.use(CAFE) == "new-address,new-network"
    assert watched.use(CAFE) == ""
    assert watched.use(HOME) == ""
    assert watched.count(Flag.NEW_NETWORK) == 1


def test_a_place_is_a_user_s_and_not_a_credential_s() -> None:
    watched = Watched(two_networks_seconds=0)
    watched.use(HOME)
    assert watched.use(HOME, serial="a2") == ""
    assert watched.use(CAFE, user="bob", serial="b1") == "", "bob's own first use"
    assert watched.use(HOME, user="bob", serial="b1") == "new-address,new-network"


@given(hosts=st.lists(st.integers(1, 254), min_size=1, max_size=200))
def test_a_pool_of_addresses_in_one_network_is_never_flagged(hosts: list[int]) -> None:
    watched = Watched()
    for host in hosts:
        assert watched.use(f"203.0.113.{host}", after=3600) == ""


def test_another_address_where_somebody_kept_to_one_for_long() -> None:
    watched = Watched()
    watched.use(HOME)
    for _ in range(8):
        assert watched.use(HOME, after=DAY) == ""
    assert watched.use("203.0.113.8") == "new-address"
    assert watched.use("203.0.113.9") == "", "not settled any more: perhaps it is a pool now"


def test_a_pool_stays_one_after_a_quiet_week() -> None:
    watched = Watched()
    for host in range(1, 6):
        watched.use(f"203.0.113.{host}")
    assert watched.use("203.0.113.99", after=8 * DAY) == ""


def test_each_new_address_when_asked_for() -> None:
    watched = Watched(settled_days=0)
    watched.use("203.0.113.1")
    assert [watched.use(f"203.0.113.{host}") for host in (2, 2, 3)] == [
        "new-address",
        "",
        "new-address",
    ]


def test_the_length_of_a_network_is_a_setting() -> None:
    watched = Watched(ipv4_prefix=16, ipv6_prefix=48)
    watched.use("10.1.0.1")
    assert watched.use("10.1.200.1") == ""
    assert "new-network" in watched.use("10.2.0.1")
    watched.use("2001:db8:1::1", user="bob", serial="b1")
    assert watched.use("2001:db8:1:ffff::1", user="bob", serial="b1") == ""


def test_two_networks_at_once() -> None:
    watched = Watched()
    watched.use(HOME)
    assert watched.use(OFFICE, after=90) == "new-address,new-network", "one after the other"
    assert watched.use(HOME, after=30) == "two-networks"
    assert watched.use(OFFICE, after=1) == "two-networks", "the other side of it"
    assert [watched.use(HOME), watched.use(OFFICE)] == ["", ""], "told"
    found = []
    for _ in range(120):
        watched.use(HOME, after=30)
        found.append(watched.use(OFFICE, after=1))
    assert found[-1] == ""
    assert 2 <= watched.count(Flag.TWO_NETWORKS) <= 4, "once an hour for each"


def test_two_credentials_of_one_user_may_be_in_two_networks() -> None:
    watched = Watched()
    watched.use(HOME)
    watched.use(OFFICE, serial="a2")
    assert watched.use(HOME) == ""
    assert watched.use(OFFICE, serial="a2") == ""


def test_one_machine_may_have_both_kinds_of_addresses() -> None:
    watched = Watched()
    watched.use(HOME)
    assert watched.use("2001:db8::7") == "new-address,new-network"
    assert watched.use(HOME) == ""
    assert watched.use("2001:db8::7") == ""


def test_after_long_silence() -> None:
    watched = Watched()
    watched.use(HOME)
    assert watched.use(HOME, after=29 * DAY) == ""
    assert watched.use(HOME, after=30 * DAY) == "long-silence"
    assert watched.use(HOME) == ""


def test_a_new_credential_does_not_end_the_silence_of_its_user() -> None:
    watched = Watched()
    watched.use(HOME)
    watched.clock.advance(31 * DAY)
    watched.issued_at = watched.clock.now()
    assert watched.use(HOME, serial="a2") == "long-silence"


def test_a_credential_that_lay_around_is_flagged_though_its_user_was_here() -> None:
    watched = Watched()
    watched.use(HOME)
    for _ in range(31):
        watched.use(HOME, after=DAY)
    assert watched.use(HOME, serial="forgotten") == "long-silence"


def test_what_was_before_anything_was_seen_is_not_silence() -> None:
    watched = Watched()
    watched.issued_at -= 300 * DAY
    assert watched.use(HOME) == ""


def test_off_hours() -> None:
    watched = Watched(hours="Mon-Fri 08:00-18:00 UTC", silence_days=0)
    friday = datetime(2027, 1, 15, 17, 0, tzinfo=UTC).timestamp()
    watched.clock.advance(friday - watched.clock.now())
    assert watched.use(HOME) == ""
    assert watched.use(HOME, after=3600) == "off-hours"
    assert watched.use(HOME, after=60) == "", "told"
    assert watched.use(HOME, after=3600) == "off-hours"
    assert watched.use(HOME, serial="m1", user="ci", machine=True) == ""


def test_nobody_s_hours_are_known_at_first() -> None:
    watched = Watched()
    assert {watched.use(HOME, after=3600) for _ in range(7 * 24)} == {""}


def test_a_burst_of_denials_is_told_with_the_one_that_makes_it_one() -> None:
    watched = Watched(denials=3)
    assert [watched.suspicion.denied("a1") for _ in range(4)] == ["", "", "denial-burst", ""]
    assert [watched.suspicion.denied("a1") for _ in range(2)] == ["", "denial-burst"]
    assert watched.count(Flag.DENIAL_BURST) == 2


def test_denials_that_are_a_minute_apart_are_no_burst() -> None:
    watched = Watched(denials=3)
    for _ in range(20):
        watched.clock.advance(31)
        assert watched.suspicion.denied("a1") == ""
    assert watched.suspicion.denied("b1") == ""
    assert watched.suspicion.denied("") == "", "nobody's"


def test_denials_by_a_cluster_are_told_with_the_next_call() -> None:
    watched = Watched(denials=2)
    watched.use(HOME)
    for _ in range(2):
        watched.suspicion.denied_before("a1")
    assert watched.use(HOME, user="bob", serial="b1") == ""
    assert watched.use(HOME) == "denial-burst"
    assert watched.use(HOME) == ""


def test_a_burst_of_secret_reads() -> None:
    watched = Watched(secret_reads=3)
    reads = [watched.use(HOME, secrets=1) for _ in range(4)]
    assert reads == ["", "", "secret-burst", ""]
    assert watched.use(HOME) == ""
    assert [watched.use(HOME, secrets=1, after=40) for _ in range(9)] == [""] * 9


@pytest.mark.parametrize(
    "settings",
    [
        {"enabled": False},
        {"denials": 0, "secret_reads": 0, "two_networks_seconds": 0, "silence_days": 0},
    ],
)
def test_each_can_be_turned_off(settings: dict[str, Any]) -> None:
    watched = Watched(**settings)
    watched.use(HOME)
    watched.use(CAFE)
    assert {watched.use(HOME, secrets=1) for _ in range(100)} == {""}
    assert {watched.suspicion.denied("a1") for _ in range(100)} == {""}
    assert watched.use(CAFE, after=400 * DAY) == ""


def test_turned_off_nothing_is_kept() -> None:
    watched = Watched(enabled=False)
    watched.use(HOME)
    assert watched.suspicion.memory.take() == ([], [])


def test_a_stream_is_a_use_for_as_long_as_it_is_open() -> None:
    watched = Watched()
    watched.use(HOME)
    watched.use(CAFE, after=DAY)
    stolen = watched.suspicion.opened("alice", "a1", CAFE)
    assert watched.use(HOME, after=3600) == "two-networks", "a shell is open elsewhere"
    assert watched.use(CAFE, after=3600) == "", "from where the shell is, an hour after the other"
    watched.clock.advance(3600)
    watched.suspicion.closed(stolen)
    assert watched.use(HOME, after=59) == "two-networks", "until a moment ago"
    assert watched.use(HOME, after=7200) == ""


def test_streams_of_others_and_from_the_same_network_are_nothing() -> None:
    watched = Watched()
    watched.use(HOME)
    for user, serial, address in (
        ("alice", "a2", CAFE),
        ("bob", "b1", CAFE),
        ("alice", "a1", "203.0.113.99"),
        ("alice", "a1", "2001:db8::7"),
    ):
        watched.suspicion.opened(user, serial, address)
    assert watched.use(HOME, after=3600) == ""


def test_streams_are_forgotten_one_by_one() -> None:
    watched = Watched()
    watched.use(HOME)
    streams = [watched.suspicion.opened("alice", "a1", CAFE) for _ in range(2)]
    watched.suspicion.closed(streams[0])
    assert watched.use(HOME, after=3600) == "two-networks"
    watched.suspicion.closed(streams[1])
    assert watched.use(HOME, after=3700) == ""


def test_no_window_no_two_networks() -> None:
    watched = Watched(two_networks_seconds=0)
    watched.use(HOME)
    watched.suspicion.opened("alice", "a1", CAFE)
    assert watched.use(HOME) == ""


def test_a_list_of_secrets_weighs_more_than_one() -> None:
    watched = Watched(secret_reads=9)
    assert [watched.use(HOME, secrets=3) for _ in range(4)] == ["", "", "secret-burst", ""]
    assert watched.use(HOME, secrets=3, after=61) == "", "not within a minute"


def test_all_secrets_are_told_once_an_hour() -> None:
    watched = Watched()
    found = [watched.use(HOME, lists_all_secrets=True, after=600) for _ in range(8)]
    assert found == ["secret-list", "", "", "", "", "", "secret-list", ""]
    quiet = Watched(secret_lists=False)
    assert quiet.use(HOME, lists_all_secrets=True) == ""


def test_a_burst_that_had_no_record_is_told_with_the_next_denial() -> None:
    watched = Watched(denials=3)
    for _ in range(3):
        watched.suspicion.denied_before("a1")
    assert watched.suspicion.denied("a1") == "denial-burst"
    assert watched.suspicion.denied("a1") == ""
