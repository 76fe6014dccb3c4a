"""What a filter asks of the postings."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.index.blocks import Field, network_of, posted
from proxy.audit.index.narrowing import AnyWay, Need, needs
from proxy.audit.index.query import Filter, Within
from proxy.audit.index.rows import source_key

VISIBLE = Need(Field.NOISE, (b"0",))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Filter(), []),
        (Filter(users=("alice", "bob")), [Need(Field.USER, (b"alice", b"bob"))]),
        (Filter(users=("al*",)), [Need(Field.USER, (), ((b"al", b"am"),))]),
        (Filter(users=("*", "bob")), []),
        (Filter(names=("é*",)), [Need(Field.NAME, (), ((b"\xc3\xa9", b"\xc3\xaa"),))]),
        (Filter(groups=("a\nb",)), [Need(Field.GROUP, (b"a\\nb",))]),
        (Filter(suspicious=("off-hours",)), [Need(Field.SUSPICIOUS, (b"off-hours",))]),
        (Filter(suspicious=("x", "*")), [Need(Field.SUSPICIOUS, (), ((b"", b"\xff"),))]),
        (Filter(credentials=("a1",)), [Need(Field.CREDENTIAL, (b"a1",))]),
        (Filter(actions=("grant.*",)), [Need(Field.ACTION, (), ((b"grant.", b"grant/"),))]),
        (Filter(reasons=("Forbidden",)), [Need(Field.REASON, (b"Forbidden",))]),
        (Filter(targets=("rob",)), [Need(Field.TARGET, (b"rob",))]),
        (Filter(status=("403",)), [Need(Field.CODE, (b"403",))]),
        (Filter(status=("4xx",)), [Need(Field.CODE, (), ((b"400", b"499\0"),))]),
        (Filter(status=(">999",)), [Need(Field.CODE, ())]),
        (Filter(resources=("deploy",)), [Need(Field.RESOURCE, (b"deployments",))]),
        (Filter(resources=("deploy.apps",)), [Need(Field.RESOURCE, (b"deployments.apps",))]),
        (Filter(resources=("pods/exec",)), [Need(Field.RESOURCE, (b"pods/exec",))]),
        (Filter(resources=("pods/",)), [Need(Field.RESOURCE, (b"pods",))]),
        (Filter(text="x", since=3, audit_ids=("y",)), []),
        (
            Filter(users=("a*",), verbs=("get",)),
            [Need(Field.VERB, (b"get",)), Need(Field.USER, (), ((b"a", b"b"),))],
        ),
    ],
)
def test_needs(asked: Filter, expected: list[Need]) -> None:
    assert needs(asked) == [*expected, VISIBLE]


def test_a_network_is_a_range_and_an_address_a_value() -> None:
    one, many = needs(Filter(sources=("10.0.0.1",)))[0], needs(Filter(sources=("10.0.0.0/24",)))[0]
    prefix = b"0" * 20 + b"ffff0a0000"
    assert one == Need(Field.SOURCE, (prefix + b"01",))
    assert many == Need(Field.SOURCE, (), ((prefix + b"00", prefix + b"ff\0"),))


@given(data=st.data(), bits=st.integers(0, 32) | st.integers(33, 128))
def test_whatever_is_in_a_network_is_in_what_is_asked_of_the_postings(
    data: st.DataObject, bits: int
) -> None:
    base = data.draw(st.ip_addresses(v=4 if bits <= 32 else 6) | st.just(ip_address("::")))
    network = ip_network(f"{base}/{bits}", strict=False)
    inside = network[data.draw(st.integers(0, network.num_addresses - 1))]
    mapped = ip_address("::ffff:10.1.2.3")
    for address in (inside, mapped if mapped in network else inside):
        key = source_key(str(address))
        asked = needs(Filter(sources=(str(network),)))[0]
        assert isinstance(asked, Need)
        value = posted(network_of(key) if asked.field == Field.NETWORK else key)
        assert value in asked.exact or any(low <= value < high for low, high in asked.ranges)


def test_networks_of_the_usual_sizes_are_asked_as_a_whole() -> None:
    for network, expected in (
        ("10.0.0.0/8", True),
        ("10.4.0.0/14", True),
        ("10.4.0.0/16", True),
        ("10.4.3.0/24", False),
        ("2001:db8::/32", True),
        ("2001:db8:7::/48", True),
        ("2001:db8:7:1::/64", False),
        ("::/0", True),
    ):
        asked = needs(Filter(sources=(network,)))[0]
        assert isinstance(asked, Need)
        assert (asked.field == Field.NETWORK) is expected, network


def test_noise_too() -> None:
    assert needs(Filter(include_noise=True)) == [Need(Field.NOISE, (b"0", b"1"))]


CALLS = Need(Field.KIND, (b"Event",))


@pytest.mark.parametrize(
    ("within", "ways"),
    [
        (Within(""), ()),
        (Within("", ("",), (("", "shop"), ("prod", ""))), ()),
        (Within("bob"), ((Need(Field.USER, (b"bob",)),),)),
        (Within("bob", ("prod",), calls=True), ((Need(Field.USER, (b"bob",)),), (CALLS,))),
        (
            Within("", ("b", "a"), (("c", "x"), ("d", "y"), ("e", "x"), ("c", "y"), ("e", "y"))),
            (
                (
                    AnyWay(
                        (
                            (Need(Field.CLUSTER, (b"a", b"b")),),
                            (
                                Need(Field.NAMESPACE, (b"x", b"y")),
                                Need(Field.CLUSTER, (b"c", b"e")),
                            ),
                            (Need(Field.NAMESPACE, (b"y",)), Need(Field.CLUSTER, (b"d",))),
                        )
                    ),
                    CALLS,
                ),
            ),
        ),
        (
            Within("", system=True),
            ((Need(Field.KIND, (), ((b"", b"Event"), (b"Event\0", b"\xff"))),),),
        ),
    ],
)
def test_what_somebody_may_see_is_any_of_several_ways(within: Within, ways: Any) -> None:
    assert needs(Filter(within=within), exact=True) == [AnyWay(ways), VISIBLE]


def test_that_calls_are_calls_is_not_read_where_events_are_compared_anyway() -> None:
    within = Within("bob", ("a",), (("b", "x"),))
    (seen, kind, _) = needs(Filter(kinds=("Event",), within=within))
    assert kind == CALLS
    assert seen == AnyWay(
        (
            (Need(Field.USER, (b"bob",)),),
            (Need(Field.CLUSTER, (b"a",)),),
            (Need(Field.NAMESPACE, (b"x",)), Need(Field.CLUSTER, (b"b",))),
        )
    )


def test_what_is_seen_comes_before_what_is_costly_to_look_for() -> None:
    asked = needs(Filter(names=("a*",), verbs=("get",), within=Within("bob")))
    fields = [None if isinstance(need, AnyWay) else need.field for need in asked]
    assert fields == [Field.VERB, None, Field.NAME, Field.NOISE]
