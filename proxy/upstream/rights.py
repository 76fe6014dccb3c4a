"""What our roles' groups may do in a cluster: its own rules, the second wall behind the grants.

A call of somebody whom grants govern reaches the cluster with the groups `kubewitness:ROLE`, or
`kubewitness:ROLE:NAMESPACE` for what is limited to namespaces (`proxy.authz.applying`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from proxy.state.access import ClusterAccess
from proxy.state.naming import check_label
from proxy.upstream.manifests import LABELS, RBAC, binding, group, text

READ_ONLY: Final = "kubewitness-read-only"
_FULL: Final = "kubewitness-full"
FULL_ROLES: Final = ("admin", "cluster-admin", "project-admin")
"""Built-in roles that may do everything in a whole cluster."""
READING_ROLES: Final = ("admin-read-only", "project-read-only")
FULL_IN_NAMESPACE: Final = ("cluster-admin", "namespace-admin", "project-admin")
"""The same in a namespace: a project may hold namespaces of a cluster instead of all of it."""
READING_IN_NAMESPACE: Final = ("namespace-read-only", "project-read-only")
IN_NAMESPACE: Final[Mapping[ClusterAccess, str]] = {
    ClusterAccess.FULL: "admin",
    ClusterAccess.READ: "view",
}
"""What a role comes to in a namespace: Kubernetes' own user-facing roles, which operators extend
by aggregation."""

_HEAD: Final = """\
# What the groups that grants give may do in this cluster. The proxy's account must be able to impersonate
# them as well (the Helm chart makes both, with `impersonation.roles`):
#
{groups}
"""
_AGGREGATE: Final = {"kubewitness.io/aggregate-to-read-only": "true"}
_LOOKING: Final = ("get", "list", "watch")
_CLUSTER_SCOPED: Final = {
    "": ("componentstatuses", "namespaces", "nodes", "persistentvolumes"),
    "admissionregistration.k8s.io": ("*",),
    "apiextensions.k8s.io": ("customresourcedefinitions",),
    "apiregistration.k8s.io": ("apiservices",),
    "certificates.k8s.io": ("certificatesigningrequests",),
    "flowcontrol.apiserver.k8s.io": ("*",),
    "metrics.k8s.io": ("nodes", "pods"),
    "networking.k8s.io": ("ingressclasses", "ipaddresses", "servicecidrs"),
    "node.k8s.io": ("runtimeclasses",),
    RBAC: ("clusterrolebindings", "clusterroles", "rolebindings", "roles"),
    "scheduling.k8s.io": ("priorityclasses",),
    "storage.k8s.io": ("*",),
}
"""What `view` leaves out and whoever looks at a cluster needs; no secrets."""


def manifest(namespaces: Sequence[str]) -> str:
    """The rights alone, as YAML: for a cluster whose proxy account was made in another way.

    Raises InvalidInputError for what is no namespace's name.
    """
    for namespace in namespaces:
        check_label("namespace", namespace)
    listed = "\n".join(f"#   {group}" for group in groups(namespaces))
    return _HEAD.format(groups=listed) + text(rights(namespaces, LABELS))


def groups(namespaces: Sequence[str]) -> list[str]:
    """All groups that grants of built-in roles can give in a cluster, and in these namespaces."""
    whole = [f"kubewitness:{role}" for role in (*FULL_ROLES, *READING_ROLES)]
    limited = [
        f"kubewitness:{role}:{namespace}"
        for namespace in namespaces
        for role in (*FULL_IN_NAMESPACE, *READING_IN_NAMESPACE)
    ]
    return sorted({*whole, *limited})


def rights(namespaces: Sequence[str], labels: dict[str, str]) -> list[dict[str, Any]]:
    """ClusterRoles and bindings for those groups."""
    found = [_read_only(labels), _cluster_scoped(labels)]
    found += [
        _binding(_FULL, "cluster-admin", FULL_ROLES, labels),
        _binding(READ_ONLY, READ_ONLY, READING_ROLES, labels),
    ]
    for name in sorted(set(namespaces)):
        found += [
            _binding(_FULL, IN_NAMESPACE[ClusterAccess.FULL], FULL_IN_NAMESPACE, labels, name),
            _binding(
                READ_ONLY, IN_NAMESPACE[ClusterAccess.READ], READING_IN_NAMESPACE, labels, name
            ),
        ]
    return found


def _read_only(labels: dict[str, str]) -> dict[str, Any]:
    """`view`, whatever is added to it, and what lies in no namespace.

    The cluster itself writes the rules. To name them here, empty even, would be to claim them: each
    server-side apply after the first would then be refused (kubernetes.io, "Using RBAC
    Authorization", aggregated ClusterRoles).
    """
    selectors = [{f"{RBAC}/aggregate-to-view": "true"}, _AGGREGATE]
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": READ_ONLY, "labels": dict(labels)},
        "aggregationRule": {
            "clusterRoleSelectors": [{"matchLabels": dict(labels)} for labels in selectors]
        },
    }


def _cluster_scoped(labels: dict[str, str]) -> dict[str, Any]:
    rules: list[dict[str, Any]] = [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(_LOOKING)}
        for group, resources in _CLUSTER_SCOPED.items()
    ]
    rules.append({"nonResourceURLs": ["/metrics"], "verbs": ["get"]})
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"{READ_ONLY}-cluster", "labels": {**labels, **_AGGREGATE}},
        "rules": rules,
    }


def _binding(
    name: str, role: str, holders: Iterable[str], labels: dict[str, str], namespace: str = ""
) -> dict[str, Any]:
    """The groups of some roles bound to a ClusterRole, everywhere or in one namespace."""
    end = f":{namespace}" if namespace else ""
    subjects = [group(f"kubewitness:{holder}{end}") for holder in sorted(holders)]
    return binding(name, role, subjects, namespace=namespace, labels=labels)
