import pytest

from proxy.sandbox.conforming import conform
from proxy.sandbox.failures import ApiError
from proxy.sandbox.kinds import POD, SECRET, SERVICE
from proxy.sandbox.objects import Object


def test_unknown_fields_are_named_and_dropped() -> None:
    item: Object = {
        "metadata": {"name": "p", "owner": "me"},
        "spec": {"containers": [{"name": "a", "img": "b"}]},
    }
    shaped, unknown = conform(POD, item)
    assert unknown == ["metadata.owner", "spec.containers[0].img"]
    assert shaped == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "a"}]},
    }


def test_inlined_fields_are_known() -> None:
    volume = {"name": "v", "emptyDir": {}}
    shaped, unknown = conform(POD, {"spec": {"volumes": [volume]}})
    assert (shaped["spec"]["volumes"], unknown) == ([volume], [])


@pytest.mark.parametrize("port", [80, "http"])
def test_a_port_is_a_number_or_a_name(port: object) -> None:
    item = {"spec": {"ports": [{"targetPort": port}]}}
    assert conform(SERVICE, item)[0]["spec"] == item["spec"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"spec": []}, "spec: expected an object, found a list"),
        ({"spec": {"containers": {}}}, "spec.containers: expected a list, found an object"),
        ({"spec": {"hostNetwork": "yes"}}, "spec.hostNetwork: expected a bool, found a string"),
        ({"spec": {"priority": True}}, "spec.priority: expected a whole number, found a bool"),
        (
            {"metadata": {"labels": {"a": 1}}},
            "metadata.labels.a: expected a string, found a number",
        ),
    ],
)
def test_wrong_types_are_refused(item: Object, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        conform(POD, item)
    assert refused.value.message == message


def test_no_secret_is_repeated() -> None:
    with pytest.raises(ApiError) as refused:
        conform(SECRET, {"data": {"password": ["hunter2"]}})
    assert "hunter2" not in refused.value.message
