from typing import Any

import pytest

from proxy.sandbox import strategic

POD: dict[str, Any] = {
    "containers": [
        {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]},
        {"name": "b", "image": "b:1", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
    ],
    "args": ["one"],
    "finalizers": ["f1"],
    "keep": {"x": 1},
}
A, B = POD["containers"]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"containers": [{"name": "b", "image": "b:2"}]}, {"containers": [A, B | {"image": "b:2"}]}),
        ({"containers": [{"name": "c"}]}, {"containers": [A, B, {"name": "c"}]}),
        ({"containers": [{"name": "a", "$patch": "delete"}]}, {"containers": [B]}),
        ({"containers": [{"$patch": "replace"}, {"name": "z"}]}, {"containers": [{"name": "z"}]}),
        (
            {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]},
            {"containers": [A | {"env": [*A["env"], {"name": "Y", "value": "2"}]}, B]},
        ),
        (
            {"containers": [{"name": "b", "ports": [{"containerPort": 80, "name": "web"}]}]},
            {"containers": [A, B | {"ports": [{"containerPort": 80, "protocol": "TCP", "name": "web"}]}]},
        ),
        ({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}, {"containers": [B, A]}),
        ({"args": ["two"]}, {"args": ["two"]}),
        ({"finalizers": ["f2"]}, {"finalizers": ["f1", "f2"]}),
        ({"$deleteFromPrimitiveList/finalizers": ["f1"]}, {"finalizers": []}),
        ({"keep": {"x": None, "y": 2}}, {"keep": {"y": 2}}),
        ({"keep": {"$patch": "replace", "z": 3}}, {"keep": {"z": 3}}),
        ({"keep": {"$patch": "delete"}}, {"keep": None}),
        ({"keep": {"$retainKeys": ["y"], "y": 2}}, {"keep": {"y": 2}}),
        ({"keep": None}, {"keep": None}),
    ],
)  # fmt: skip
def test_merge(patch: dict[str, object], expected: dict[str, object]) -> None:
    result = strategic.merge(POD, patch)
    wanted = {key: value for key, value in (POD | expected).items() if value is not None}
    assert result == wanted


def test_a_service_port_is_known_by_its_port() -> None:
    ports = [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    patch = {"ports": [{"port": 53, "protocol": "UDP", "name": "dns"}]}
    assert strategic.merge({"ports": ports}, patch)["ports"] == [
        ports[0],
        ports[1] | {"name": "dns"},
    ]
