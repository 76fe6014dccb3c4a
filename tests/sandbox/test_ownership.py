from typing import Any

import pytest

from proxy.sandbox import ownership
from proxy.sandbox.failures import ApiError
from proxy.sandbox.objects import Object


def deployment(*env: str, **spec: object) -> Object:
    entries = [{"name": name, "value": value} for name, value in (e.split("=") for e in env)]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {**spec, "containers": [{"name": "main", "env": entries}]},
    }


def applied(current: Object | None, config: Object, manager: str, *, force: bool = False) -> Object:
    result = ownership.apply(current or config, config, manager, force=force)
    entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "fieldsV1": ownership.fields_of(config),
    }
    ownership.record(result["metadata"], entry)
    return result


def environment(item: Object) -> dict[str, str]:
    found: list[dict[str, str]] = item["spec"]["containers"][0]["env"]
    return {entry["name"]: entry["value"] for entry in found}


def test_fields_are_named_by_path_and_key() -> None:
    assert ownership.fields_of(deployment("A=1", replicas=2)) == {
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:containers": {
                'k:{"name":"main"}': {
                    ".": {},
                    "f:name": {},
                    "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
                }
            },
        },
    }


def test_what_a_manager_leaves_out_is_removed() -> None:
    first = applied(None, deployment("A=1", "B=2", replicas=2), "me")
    second = applied(first, deployment("B=2"), "me")
    assert environment(second) == {"B": "2"}
    assert "replicas" not in second["spec"]


def test_what_another_manager_owns_stays() -> None:
    first = applied(None, deployment("A=1", "B=2"), "me")
    shared = applied(first, deployment("A=1"), "you")
    assert environment(applied(shared, deployment("B=2"), "me")) == {"A": "1", "B": "2"}


def test_conflicts_are_refused_and_can_be_forced() -> None:
    first = applied(None, deployment("A=1", replicas=2), "me")
    with pytest.raises(ApiError) as refused:
        applied(first, deployment("A=2", replicas=3), "you")
    assert refused.value.code == 409
    assert refused.value.message == (
        "Apply failed with 2 conflicts:"
        '\n- .spec.containers[{"name":"main"}].env[{"name":"A"}].value: conflict with "me" using apps/v1'
        '\n- .spec.replicas: conflict with "me" using apps/v1'
    )
    forced = applied(first, deployment("A=2", replicas=3), "you", force=True)
    assert (environment(forced), forced["spec"]["replicas"]) == ({"A": "2"}, 3)
    mine: dict[str, Any] = forced["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    assert "f:replicas" not in mine


def test_updates_own_what_they_change_and_add_up() -> None:
    before, after = deployment("A=1", replicas=1), deployment("A=1", replicas=2)
    assert ownership.changed(before, after) == {"f:spec": {"f:replicas": {}}}
    meta: Object = {}
    owned: tuple[Object, ...] = ({"f:spec": {"f:a": {}}}, {"f:spec": {"f:b": {}}})
    for fields in owned:
        ownership.record(meta, {"manager": "m", "operation": "Update", "fieldsV1": fields})
    assert [entry["fieldsV1"] for entry in meta["managedFields"]] == [
        {"f:spec": {"f:a": {}, "f:b": {}}}
    ]
