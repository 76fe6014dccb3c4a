"""Resources that live in no namespace."""

import pytest

from proxy.kube.cluster_scoped import is_cluster_scoped


@pytest.mark.parametrize(
    ("group", "resource", "scoped"),
    [
        ("", "nodes", True),
        ("", "namespaces", True),
        ("", "pods", False),
        ("metrics.k8s.io", "nodes", True),
        ("metrics.k8s.io", "pods", False),
        ("example.com", "nodes", False),
        ("storage.k8s.io", "storageclasses", True),
        ("storage.k8s.io", "csistoragecapacities", False),
        ("rbac.authorization.k8s.io", "clusterroles", True),
        ("rbac.authorization.k8s.io", "roles", False),
    ],
)
def test_only_what_is_known_to_be_in_no_namespace_is(
    group: str, resource: str, scoped: bool
) -> None:
    assert is_cluster_scoped(group, resource) is scoped
