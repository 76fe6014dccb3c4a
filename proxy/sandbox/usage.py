"""What nodes and pods use (metrics.k8s.io), invented, so that `kubectl top` has something to show."""

import hashlib
import math

from aiohttp import web

from proxy.sandbox.calls import Call
from proxy.sandbox.failures import not_found
from proxy.sandbox.kinds import NODE, POD
from proxy.sandbox.objects import Object, labels_of, name_of, namespace_of, spec_of, status_of
from proxy.sandbox.reading import matcher
from proxy.sandbox.registry import Registry


async def usage(call: Call) -> web.Response:
    """GET of one or all NodeMetrics or PodMetrics."""
    store, target = call.registry.store, call.target
    source = NODE if call.kind.name == "NodeMetrics" else POD
    matches = matcher(call)
    items = [item for item in store.items(source, target.namespace) if matches(item)]
    shown = [_of_node(call.registry, item) for item in items] if source is NODE else [
        _of_pod(call.registry, item) for item in items if status_of(item).get("phase") == "Running"
    ]  # fmt: skip
    if target.name:
        if not shown:
            raise not_found(call.kind, target.name)
        return call.answer(shown[0])
    body: Object = {"kind": f"{call.kind.name}List", "apiVersion": call.kind.api_version}
    return call.answer({**body, "metadata": {}, "items": shown})


def _wave(registry: Registry, name: str) -> float:
    """A slow, smooth number between 0 and 1, different for each name."""
    phase = hashlib.sha256(name.encode()).digest()[0] / 40
    return (math.sin(registry.clock.now() / 60 + phase) + 1) / 2


def _measured(registry: Registry, item: Object, kind: str) -> Object:
    meta: Object = {"name": name_of(item), "creationTimestamp": registry.now()}
    if namespace_of(item):
        meta["namespace"] = namespace_of(item)
    if labels_of(item):
        meta["labels"] = labels_of(item)
    return {
        "kind": kind,
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": meta,
        "timestamp": registry.now(),
        "window": "15s",
    }


def _amount(cpu: float, memory: float) -> Object:
    return {"cpu": f"{int(cpu * 1e6)}n", "memory": f"{int(memory * 1024)}Ki"}


def _of_node(registry: Registry, node: Object) -> Object:
    wave = _wave(registry, name_of(node))
    return _measured(registry, node, "NodeMetrics") | {
        "usage": _amount(180 + 240 * wave, 1400 + 300 * wave)
    }


def _of_pod(registry: Registry, pod: Object) -> Object:
    containers = []
    for container in spec_of(pod)["containers"]:
        wave = _wave(registry, name_of(pod) + container["name"])
        containers.append(
            {"name": container["name"], "usage": _amount(2 + 9 * wave, 18 + 14 * wave)}
        )
    return _measured(registry, pod, "PodMetrics") | {"containers": containers}
