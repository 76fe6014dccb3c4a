"""Controllers and nodes on a clock that stands still until it is told to go on."""

from collections.abc import Callable

import pytest

from proxy.clock import ManualClock
from proxy.sandbox import controllers
from proxy.sandbox.kinds import DEPLOYMENT, JOB, NODE, POD, REPLICA_SET, Kind
from proxy.sandbox.nodes import Nodes
from proxy.sandbox.objects import Object, is_ready, name_of, spec_of, status_of
from proxy.sandbox.registry import Deletion, Registry

Settle = Callable[[], None]


@pytest.fixture
def settle(registry: Registry, clock: ManualClock) -> Settle:
    """Let ten seconds pass in small steps."""
    nodes = Nodes(registry)
    registry.create(NODE, "", {"metadata": {"name": "n-1"}, "spec": {}})

    def run() -> None:
        for _ in range(100):
            controllers.reconcile(registry, nodes)
            clock.advance(0.1)

    return run


def deployment(registry: Registry, image: str = "app:1", **spec: object) -> Object:
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    body = {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": dict(labels)},
            "template": template,
            **spec,
        },
    }
    return registry.create(DEPLOYMENT, "shop", body)


def set_image(registry: Registry, image: str) -> None:
    def change(item: Object) -> None:
        item["spec"]["template"]["spec"]["containers"][0]["image"] = image

    registry.mutate(DEPLOYMENT, registry.require(DEPLOYMENT, "shop", "web"), change)


def images(registry: Registry) -> list[str]:
    return sorted(spec_of(pod)["containers"][0]["image"] for pod in registry.store.items(POD))


def test_a_deployment_gets_its_pods(registry: Registry, settle: Settle) -> None:
    deployment(registry)
    settle()
    pods = registry.store.items(POD, "shop")
    assert [is_ready(pod) for pod in pods] == [True, True]
    status = status_of(registry.require(DEPLOYMENT, "shop", "web"))
    assert (status["readyReplicas"], status["updatedReplicas"], status["replicas"]) == (2, 2, 2)
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "Available": "True",
        "Progressing": "True",
    }


def test_nothing_changes_once_it_has_settled(registry: Registry, settle: Settle) -> None:
    deployment(registry)
    settle()
    before = registry.store.revision
    settle()
    assert registry.store.revision == before


def test_a_rollout_never_leaves_too_few(registry: Registry, clock: ManualClock) -> None:
    nodes = Nodes(registry)
    registry.create(NODE, "", {"metadata": {"name": "n-1"}, "spec": {}})
    deployment(registry, replicas=4)
    least, most = 4, 4
    for step in range(300):
        if step == 100:
            set_image(registry, "app:2")
        controllers.reconcile(registry, nodes)
        clock.advance(0.1)
        if step > 100:
            ready = sum(map(is_ready, registry.store.items(POD)))
            wanted = sum(spec_of(it)["replicas"] for it in registry.store.items(REPLICA_SET))
            least, most = min(least, ready), max(most, wanted)
    assert images(registry) == ["app:2"] * 4
    assert (least, most) == (3, 5)


def test_recreate_stops_all_before_it_starts_any(registry: Registry, settle: Settle) -> None:
    deployment(registry, strategy={"type": "Recreate"})
    settle()
    set_image(registry, "app:2")
    settle()
    assert images(registry) == ["app:2", "app:2"]


def test_a_rollout_to_a_missing_image_stops_halfway(registry: Registry, settle: Settle) -> None:
    deployment(registry, replicas=4)
    settle()
    set_image(registry, "app:missing")
    settle()
    assert sum(map(is_ready, registry.store.items(POD))) == 3
    set_image(registry, "app:1")
    settle()
    assert images(registry) == ["app:1"] * 4


@pytest.mark.parametrize(
    ("propagation", "left"), [("Background", 0), ("Foreground", 0), ("Orphan", 2)]
)
def test_deleting(registry: Registry, settle: Settle, propagation: str, left: int) -> None:
    deployment(registry)
    settle()
    item = registry.require(DEPLOYMENT, "shop", "web")
    registry.delete(DEPLOYMENT, item, Deletion(propagation=propagation))
    settle()
    assert registry.store.get(DEPLOYMENT, "shop", "web") is None
    assert len(registry.store.items(POD)) == left


@pytest.mark.parametrize("kind", [POD, REPLICA_SET])
def test_what_is_lost_comes_back(registry: Registry, settle: Settle, kind: Kind) -> None:
    deployment(registry)
    settle()
    for item in registry.store.items(kind):
        registry.delete(kind, item)
    settle()
    assert sum(map(is_ready, registry.store.items(POD))) == 2


def test_a_job_runs_to_its_end(registry: Registry, settle: Settle) -> None:
    containers = [{"name": "main", "image": "x"}]
    template = {"spec": {"containers": containers, "restartPolicy": "Never"}}
    registry.create(
        JOB, "shop", {"metadata": {"name": "j"}, "spec": {"completions": 2, "template": template}}
    )
    settle()
    status = status_of(registry.require(JOB, "shop", "j"))
    assert status["succeeded"] == 2
    assert [c["type"] for c in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]


def test_one_odd_object_does_not_stop_the_others(registry: Registry, settle: Settle) -> None:
    registry.store.put(
        DEPLOYMENT,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "odd", "namespace": "shop", "uid": "u"},
            "spec": {},
        },
    )
    deployment(registry)
    settle()
    assert sum(map(is_ready, registry.store.items(POD))) == 2
    assert {name_of(it) for it in registry.store.items(DEPLOYMENT)} == {"odd", "web"}
