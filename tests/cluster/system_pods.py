"""What runs in the cluster from the start, as pods: its DNS and its metrics API."""

from typing import Any

from tests.cluster import images
from tests.cluster.node import DNS_ADDRESS, DOMAIN

NAMESPACE = "kube-system"

COREFILE = f"""\
.:53 {{
    errors
    ready :8181
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 1
    }}
    cache 1
    loadbalance
}}
"""

Manifest = dict[str, Any]


def manifests() -> list[Manifest]:
    """Every object of the add-ons, in the order in which to create them."""
    return [*_dns(), *_metrics()]


def _dns() -> list[Manifest]:
    rules = [
        {
            "apiGroups": [""],
            "resources": ["endpoints", "services", "pods", "namespaces"],
            "verbs": ["list", "watch"],
        },
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["list", "watch"],
        },
    ]
    container = {
        "name": "coredns",
        "image": images.COREDNS,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
    }
    volume = {"name": "config", "configMap": {"name": "coredns"}}
    return [
        _object("v1", "ServiceAccount", "coredns"),
        *_role("coredns", rules),
        _object("v1", "ConfigMap", "coredns") | {"data": {"Corefile": COREFILE}},
        # Not the cluster's DNS for the cluster's DNS.
        _labelled(
            _deployment("coredns", container, [volume], dnsPolicy="Default"),
            # By which NetworkPolicies everywhere know whoever answers DNS.
            {"k8s-app": "kube-dns"},
        ),
        _service("kube-dns", "coredns", [_port("dns", 53, "UDP"), _port("dns-tcp", 53)])
        | {"metadata": _metadata("kube-dns")},
    ]


def _metrics() -> list[Manifest]:
    name = "metrics-server"
    rules = [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
    ]
    container = {
        "name": name,
        "image": images.METRICS_SERVER,
        "imagePullPolicy": "Never",
        "args": [
            "--secure-port=10250",
            "--cert-dir=/tmp",
            "--kubelet-preferred-address-types=InternalIP",
            "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
            # The shortest that it takes; two samples make a rate.
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ],
        # No readiness probe: its own waits for two samples, and an API that is listed but cannot be asked
        # makes every client's discovery fail meanwhile. The first answers are just empty.
    }
    api = _object("apiregistration.k8s.io/v1", "APIService", "v1beta1.metrics.k8s.io") | {
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": name, "namespace": NAMESPACE},
        },
    }
    # The two rights of an aggregated API server: ask who a caller is, and read how callers are handed on.
    delegation = [
        _binding("ClusterRoleBinding", f"{name}-auth-delegator", "system:auth-delegator", name),
        _binding(
            "RoleBinding", f"{name}-auth-reader", "extension-apiserver-authentication-reader", name
        ),
    ]
    return [
        _object("v1", "ServiceAccount", name),
        *_role(name, rules),
        *delegation,
        _deployment(name, container, []),
        _service(name, name, [_port("https", 443) | {"targetPort": 10250}]),
        api,
    ]


def _metadata(name: str) -> Manifest:
    return {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}


def _object(version: str, kind: str, name: str) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": _metadata(name)}


def _role(name: str, rules: list[Manifest]) -> list[Manifest]:
    role_name = f"system:{name}"
    role = _object("rbac.authorization.k8s.io/v1", "ClusterRole", role_name)
    return [
        role | {"metadata": {"name": role_name}, "rules": rules},
        _binding("ClusterRoleBinding", role_name, role_name, name),
    ]


def _binding(kind: str, name: str, role: str, account: str) -> Manifest:
    metadata = _metadata(name) if kind == "RoleBinding" else {"name": name}
    role_kind = "Role" if kind == "RoleBinding" else "ClusterRole"
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
    }


def _deployment(name: str, container: Manifest, volumes: list[Manifest], **pod: str) -> Manifest:
    labels = {"app": name}
    spec = {
        "serviceAccountName": name,
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": volumes,
        **pod,
    }
    return _object("apps/v1", "Deployment", name) | {
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        }
    }


def _labelled(deployment: Manifest, labels: dict[str, str]) -> Manifest:
    metadata = deployment["spec"]["template"]["metadata"]
    metadata["labels"] = {**metadata["labels"], **labels}
    return deployment


def _service(name: str, app: str, ports: list[Manifest]) -> Manifest:
    spec: Manifest = {"selector": {"app": app}, "ports": ports}
    if name == "kube-dns":
        spec["clusterIP"] = DNS_ADDRESS
    return _object("v1", "Service", name) | {"spec": spec}


def _port(name: str, port: int, protocol: str = "TCP") -> Manifest:
    return {"name": name, "port": port, "protocol": protocol}
