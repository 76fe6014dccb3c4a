import pytest

from proxy.sandbox.failures import ApiError
from proxy.sandbox.kinds import CONFIG_MAP, POD
from proxy.sandbox.objects import Object
from proxy.sandbox.store import Store


def config(name: str, namespace: str = "shop", **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def test_every_change_has_a_version_of_its_own() -> None:
    store = Store()
    store.put(CONFIG_MAP, config("a"))
    store.put(CONFIG_MAP, config("b"))
    store.put(CONFIG_MAP, config("a", x="1"))
    gone = store.remove(CONFIG_MAP, config("b"))
    changes = store.since(1)
    assert [(change.type, change.revision) for change in changes] == [
        ("ADDED", 2),
        ("ADDED", 3),
        ("MODIFIED", 4),
        ("DELETED", 5),
    ]
    assert changes[2].previous is changes[0].object
    assert gone["metadata"]["resourceVersion"] == "5"


def test_items_are_ordered_and_kept_apart() -> None:
    store = Store()
    for name, namespace in (("b", "one"), ("a", "two"), ("a", "one")):
        store.put(CONFIG_MAP, config(name, namespace))
    listed = [(i["metadata"]["namespace"], i["metadata"]["name"]) for i in store.items(CONFIG_MAP)]
    assert listed == [("one", "a"), ("one", "b"), ("two", "a")]
    assert len(store.items(CONFIG_MAP, "one")) == 2
    assert store.items(POD) == []


def test_the_forgotten_past_is_refused() -> None:
    store = Store(history=2)
    for name in ("a", "b", "c"):
        store.put(CONFIG_MAP, config(name))
    assert len(store.since(2)) == 2
    with pytest.raises(ApiError, match="too old resource version: 1") as refused:
        store.since(1)
    assert (refused.value.code, refused.value.reason) == (410, "Expired")


def test_subscribers_hear_of_changes_until_they_leave() -> None:
    store = Store()
    with store.subscribe() as queue:
        store.put(CONFIG_MAP, config("a"))
        assert queue.get_nowait().type == "ADDED"
    store.put(CONFIG_MAP, config("b"))
    assert queue.empty()


def test_a_dump_can_be_loaded_and_its_past_is_gone() -> None:
    store, copy = Store(), Store()
    store.put(CONFIG_MAP, config("a", x="1"))
    copy.load(store.dump())
    assert copy.items(CONFIG_MAP) == store.items(CONFIG_MAP)
    assert copy.revision == 2
    assert copy.since(2) == []
    with pytest.raises(ApiError):
        copy.since(1)
