import pytest

from proxy.clock import ManualClock
from proxy.sandbox.failures import ApiError
from proxy.sandbox.kinds import CONFIG_MAP, DEPLOYMENT, NAMESPACE, POD, SECRET, SERVICE, Kind
from proxy.sandbox.objects import Object, copy
from proxy.sandbox.registry import Deletion, Registry, Write

PERSON = Write(manager="kubectl")
CONTAINERS = [{"name": "main", "image": "x"}]


def config(name: str = "c", **more: object) -> Object:
    return {"metadata": {"name": name}, "data": {"a": "1"}, **more}


def test_a_new_object_is_given_what_a_server_gives(registry: Registry) -> None:
    made = registry.create(CONFIG_MAP, "shop", config(), PERSON)
    meta = made["metadata"]
    assert (made["kind"], made["apiVersion"], meta["namespace"]) == ("ConfigMap", "v1", "shop")
    assert meta["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert meta["uid"]
    assert meta["managedFields"][0]["fieldsV1"] == {"f:data": {"f:a": {}}}


def test_names_are_generated(registry: Registry) -> None:
    body: Object = {"metadata": {"generateName": "job-"}}
    name = registry.create(CONFIG_MAP, "shop", body)["metadata"]["name"]
    assert name.startswith("job-")
    assert len(name) == len("job-") + 5


@pytest.mark.parametrize(
    ("kind", "namespace", "body", "code", "message"),
    [
        (CONFIG_MAP, "shop", {"metadata": {"name": "taken"}}, 409, "already exists"),
        (CONFIG_MAP, "none", config(), 404, 'namespaces "none" not found'),
        (CONFIG_MAP, "shop", {"metadata": {}}, 400, "name or generateName is required"),
        (CONFIG_MAP, "shop", config("Upper"), 422, "RFC 1123"),
        (CONFIG_MAP, "shop", {"metadata": {"name": "x", "namespace": "other"}}, 400, "namespace"),
        (POD, "shop", {"metadata": {"name": "p"}, "spec": {}}, 422, "spec.containers: Required"),
        (POD, "shop", {"metadata": {"name": "p"}, "spec": {"containers": CONTAINERS * 2}}, 422, "Duplicate"),
        (SERVICE, "shop", {"metadata": {"name": "s"}, "spec": {}}, 422, "spec.ports: Required"),
        (SERVICE, "shop", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 0}]}}, 422, "between 1 and"),
        (SECRET, "shop", {"metadata": {"name": "s"}, "data": {"k": "?"}}, 422, "not base64"),
        (DEPLOYMENT, "shop", {"metadata": {"name": "d"}, "spec": {}}, 422, "spec.selector: Required"),
    ],
)  # fmt: skip
def test_what_is_refused(
    registry: Registry, kind: Kind, namespace: str, body: Object, code: int, message: str
) -> None:
    registry.create(CONFIG_MAP, "shop", config("taken"))
    before = registry.store.revision
    with pytest.raises(ApiError) as refused:
        registry.create(kind, namespace, copy(body), PERSON)
    assert refused.value.code == code
    assert message in refused.value.message
    assert registry.store.revision == before


def test_an_old_version_is_a_conflict(registry: Registry) -> None:
    old = copy(registry.create(CONFIG_MAP, "shop", config()))
    registry.update(CONFIG_MAP, copy(old) | {"data": {"a": "2"}}, PERSON)
    with pytest.raises(ApiError) as refused:
        registry.update(CONFIG_MAP, old | {"data": {"a": "3"}}, PERSON)
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


def test_a_change_of_nothing_is_no_change(registry: Registry) -> None:
    made = registry.create(CONFIG_MAP, "shop", config(), PERSON)
    before = registry.store.revision
    registry.update(CONFIG_MAP, copy(made), Write(manager="somebody else"))
    assert registry.store.revision == before


def test_a_dry_run_stores_nothing(registry: Registry) -> None:
    before = registry.store.revision
    dry = Write(manager="kubectl", dry_run=True)
    assert registry.create(CONFIG_MAP, "shop", config(), dry)["metadata"]["uid"]
    made = registry.create(CONFIG_MAP, "shop", config())
    registry.update(CONFIG_MAP, copy(made) | {"data": {}}, dry)
    registry.delete(CONFIG_MAP, made, Deletion(dry_run=True))
    assert registry.store.revision == before + 1


def test_spec_and_status_are_written_apart(registry: Registry) -> None:
    spec: Object = {"containers": CONTAINERS, "tolerations": []}
    pod = registry.create(POD, "shop", {"metadata": {"name": "p"}, "spec": spec}, PERSON)
    changed = copy(pod) | {"status": {"phase": "Failed"}}
    changed["spec"]["tolerations"] = [{"key": "k"}]
    after = registry.update(POD, changed, PERSON)
    assert (after["status"]["phase"], after["metadata"]["generation"]) == ("Pending", 2)
    changed = copy(after) | {"status": {"phase": "Failed"}, "spec": {}}
    after = registry.update(POD, changed, Write(manager="kubectl", subresource="status"))
    assert after["status"]["phase"] == "Failed"
    assert (after["spec"]["tolerations"], after["metadata"]["generation"]) == ([{"key": "k"}], 2)


def test_what_is_immutable_stays(registry: Registry) -> None:
    made = registry.create(CONFIG_MAP, "shop", config(immutable=True))
    with pytest.raises(ApiError, match="immutable"):
        registry.update(CONFIG_MAP, copy(made) | {"data": {}}, PERSON)


def test_finalizers_hold_an_object_until_they_are_gone(registry: Registry) -> None:
    made = registry.create(CONFIG_MAP, "shop", {"metadata": {"name": "c", "finalizers": ["x/y"]}})
    left = registry.delete(CONFIG_MAP, made)
    assert left is not None
    assert left["metadata"]["deletionTimestamp"]
    freed = copy(left)
    freed["metadata"]["finalizers"] = []
    registry.update(CONFIG_MAP, freed, PERSON)
    assert registry.store.get(CONFIG_MAP, "shop", "c") is None


@pytest.mark.parametrize("options", [Deletion(uid="other"), Deletion(resource_version="1")])
def test_preconditions_of_a_delete(registry: Registry, options: Deletion) -> None:
    made = registry.create(CONFIG_MAP, "shop", config())
    with pytest.raises(ApiError, match="precondition"):
        registry.delete(CONFIG_MAP, made, options)


def test_a_namespace_on_its_way_out_takes_nothing_in(
    registry: Registry, clock: ManualClock
) -> None:
    clock.advance(1)
    registry.delete(NAMESPACE, registry.require(NAMESPACE, "", "shop"))
    with pytest.raises(ApiError, match="being terminated"):
        registry.create(CONFIG_MAP, "shop", config())
