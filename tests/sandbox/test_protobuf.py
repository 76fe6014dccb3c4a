"""Bodies as kubectl 1.37 sent them, captured from the wire."""

import pytest

from proxy.sandbox import protobuf
from proxy.sandbox.failures import ApiError

CONFIG_MAP = (
    b"k8s\x00\n\x0f\n\x02v1\x12\tConfigMap"
    b'\x12\x1b\n\x11\n\x01x\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x06\n\x01a\x12\x01b\x1a\x00"\x00'
)
NAMESPACE = (
    b"k8s\x00\n\x0f\n\x02v1\x12\tNamespace"
    b'\x12\x1b\n\x13\n\x03foo\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x00\x1a\x02\n\x00\x1a\x00"\x00'
)


def test_a_config_map() -> None:
    assert protobuf.decode(CONFIG_MAP) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x"},
        "data": {"a": "b"},
    }


def test_empty_fields_are_dropped() -> None:
    assert protobuf.decode(NAMESPACE)["metadata"] == {"name": "foo"}


@pytest.mark.parametrize("length", [*range(4, 21), *range(22, len(CONFIG_MAP) - 14)])
def test_a_body_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ApiError) as refused:
        protobuf.decode(CONFIG_MAP[:length])
    assert refused.value.code == 400


@pytest.mark.parametrize("body", [b"", b"{}", b"k8s\x00\n\x06\n\x01v\x12\x01N", b"k8s\x00\xff\xff"])
def test_other_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        protobuf.decode(body)
    assert refused.value.code == 400
