"""The controller of endpoint slices: which pods stand behind a service."""

from proxy.sandbox.guarding import attempt
from proxy.sandbox.kinds import ENDPOINT_SLICE, POD, SERVICE
from proxy.sandbox.objects import (
    Object,
    is_deleting,
    is_ready,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    spec_of,
    status_of,
    uid_of,
)
from proxy.sandbox.registry import Registry


def reconcile(registry: Registry) -> None:
    """Keep one slice per service with a selector."""
    for service in registry.store.items(SERVICE):
        if spec_of(service).get("selector") and not is_deleting(service):
            attempt(service, _slice, registry, service)


def _slice(registry: Registry, service: Object) -> None:
    namespace, wanted = namespace_of(service), spec_of(service)["selector"]
    pods = [
        pod
        for pod in registry.store.items(POD, namespace)
        if status_of(pod).get("podIP") and wanted.items() <= labels_of(pod).items()
    ]
    name = f"{name_of(service)}-sandbox"
    body: Object = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": name_of(service),
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod) for pod in pods if status_of(pod)["phase"] == "Running"],
        "ports": [_port(port, pods) for port in spec_of(service).get("ports") or []],
    }
    if registry.store.get(ENDPOINT_SLICE, namespace, name) is None:
        registry.create(ENDPOINT_SLICE, namespace, body)
    else:
        registry.update(ENDPOINT_SLICE, body)


def _endpoint(pod: Object) -> Object:
    ready = is_ready(pod)
    return {
        "addresses": [status_of(pod)["podIP"]],
        "conditions": {"ready": ready, "serving": ready, "terminating": is_deleting(pod)},
        "nodeName": spec_of(pod).get("nodeName", ""),
        "targetRef": {
            "kind": "Pod",
            "name": name_of(pod),
            "namespace": namespace_of(pod),
            "uid": uid_of(pod),
        },
    }


def _port(port: Object, pods: list[Object]) -> Object:
    number = port["targetPort"]
    if isinstance(number, str):
        named = (
            entry["containerPort"]
            for pod in pods
            for container in spec_of(pod)["containers"]
            for entry in container.get("ports") or []
            if entry.get("name") == number
        )
        number = next(named, port["port"])
    return {"name": port.get("name", ""), "port": number, "protocol": port["protocol"]}
