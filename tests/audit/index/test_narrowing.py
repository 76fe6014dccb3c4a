"""What a filter asks of the postings."""

import pytest

from proxy.audit.index.blocks import Field
from proxy.audit.index.narrowing import Need, needs
from proxy.audit.index.query import Filter

VISIBLE = Need(Field.NOISE, (b"0",))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Filter(), []),
        (Filter(users=("alice", "bob")), [Need(Field.USER, (b"alice", b"bob"))]),
        (Filter(users=("al*",)), [Need(Field.USER, (), ((b"al", b"am"),))]),
        (Filter(users=("*", "bob")), []),
        (Filter(names=("é*",)), [Need(Field.NAME, (), ((b"\xc3\xa9", b"\xc3\xaa"),))]),
        (Filter(groups=("a\nb",)), [Need(Field.GROUP, (b"a\\nb",))]),
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
def test_needs(given: Filter, expected: list[Need]) -> None:
    assert needs(given) == [*expected, VISIBLE]


def test_a_network_is_a_range_and_an_address_a_value() -> None:
    one, many = needs(Filter(sources=("10.0.0.1",)))[0], needs(Filter(sources=("10.0.0.0/24",)))[0]
    prefix = b"0" * 20 + b"ffff0a0000"
    assert one == Need(Field.SOURCE, (prefix + b"01",))
    assert many == Need(Field.SOURCE, (), ((prefix + b"00", prefix + b"ff\0"),))


def test_noise_too() -> None:
    assert needs(Filter(include_noise=True)) == [Need(Field.NOISE, (b"0", b"1"))]
