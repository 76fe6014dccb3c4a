"""What a new sandbox starts with: two nodes, three namespaces, and a small shop that runs."""

from typing import Final

from proxy.sandbox.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    NODE,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)
from proxy.sandbox.objects import Object
from proxy.sandbox.pod_status import node_address
from proxy.sandbox.registry import Registry

NAMESPACES: Final = ("default", "kube-system", "shop")
NODES: Final = ("sandbox-1", "sandbox-2")


def plant(registry: Registry) -> None:
    """Create the first objects in an empty store; controllers do the rest."""
    for name in NAMESPACES:
        registry.create(NAMESPACE, "", {"metadata": {"name": name}})
        registry.create(SERVICE_ACCOUNT, name, {"metadata": {"name": "default"}})
    for position, name in enumerate(NODES):
        registry.create(NODE, "", _node(registry, name, control_plane=position == 0))
    api = {"ports": [{"name": "https", "port": 443, "targetPort": 6443}], "clusterIP": "10.96.0.1"}
    registry.create(SERVICE, "default", {"metadata": {"name": "kubernetes"}, "spec": api})
    _shop(registry)


def _shop(registry: Registry) -> None:
    settings = {"CURRENCY": "EUR", "GREETING": "Welcome to the shop", "PAGE_SIZE": "24"}
    registry.create(CONFIG_MAP, "shop", {"metadata": {"name": "web-settings"}, "data": settings})
    secret = {"username": "web", "password": "not-a-real-password"}
    registry.create(SECRET, "shop", {"metadata": {"name": "redis-login"}, "stringData": secret})
    web = _deployment("web", "sandbox/web:1.4.2", 8080, replicas=2)
    web["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "REDIS_ADDR", "value": "redis:6379"},
        {"name": "CURRENCY", "value": "EUR"},
    ]
    registry.create(DEPLOYMENT, "shop", web)
    registry.create(DEPLOYMENT, "shop", _deployment("redis", "redis:8.2", 6379, replicas=1))
    for name, port in (("web", 8080), ("redis", 6379)):
        spec = {"selector": {"app": name}, "ports": [{"port": port}]}
        meta = {"name": name, "labels": {"app": name}}
        registry.create(SERVICE, "shop", {"metadata": meta, "spec": spec})


def _deployment(name: str, image: str, port: int, *, replicas: int) -> Object:
    labels = {"app": name}
    container = {"name": name, "image": image, "ports": [{"containerPort": port}]}
    return {
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(labels)},
            "template": {"metadata": {"labels": dict(labels)}, "spec": {"containers": [container]}},
        },
    }


def _node(registry: Registry, name: str, *, control_plane: bool) -> Object:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    if control_plane:
        labels["node-role.kubernetes.io/control-plane"] = ""
    stamp = registry.now()
    room = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "40Gi"}
    pressures = ("MemoryPressure", "DiskPressure", "PIDPressure")
    conditions = [
        _condition(kind, "False", f"Kubelet has no {kind}", stamp) for kind in pressures
    ] + [_condition("Ready", "True", "KubeletReady", stamp)]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": "10.244.0.0/16"},
        "status": {
            "capacity": room,
            "allocatable": dict(room),
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": node_address(name)},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "kubeletVersion": "v1.37.2+sandbox",
                "kubeProxyVersion": "",
                "osImage": "Sandbox Linux",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "kernelVersion": "6.12.0-sandbox",
                "containerRuntimeVersion": "sandbox://1.0",
                "machineID": name,
                "systemUUID": name,
                "bootID": name,
            },
        },
    }


def _condition(kind: str, status: str, reason: str, stamp: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason.replace(" ", ""),
        "message": f"{reason}.",
        "lastHeartbeatTime": stamp,
        "lastTransitionTime": stamp,
    }
