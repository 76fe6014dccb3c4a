"""The manifest of a second account at a cluster: it keeps the RoleBindings of grants, and nothing else.

It may hand out no role but the two that RoleBindings of ours refer to (`bind`, as Kubernetes' RBAC
has it), and impersonate nobody.
"""

from typing import Final

from proxy.state.repository import check_cluster_name
from proxy.upstream.manifests import RBAC, account, cluster_role, steps, text
from proxy.upstream.rights import IN_NAMESPACE

ACCOUNT: Final = "kubewitness-rolebindings"
_HEAD: Final = """\
# A second account of kubewitness on cluster {name}: it keeps RoleBindings in step with the grants.
# It may bind the ClusterRoles admin and view in any namespace, and impersonate nobody.
# Apply it as an administrator of that cluster:  kubectl apply -f -
"""


def manifest(name: str) -> str:
    """YAML for the account on the cluster that is called `name` here, with the next steps.

    Raises InvalidInputError for what is no cluster's name.
    """
    check_cluster_name(name)
    rules = [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"]},
        {
            "apiGroups": [RBAC],
            "resources": ["rolebindings"],
            "verbs": ["list", "create", "delete"],
        },
        {
            "apiGroups": [RBAC],
            "resources": ["clusterroles"],
            "verbs": ["bind"],
            "resourceNames": sorted(IN_NAMESPACE.values()),
        },
    ]
    documents = account(ACCOUNT, cluster_role(ACCOUNT, rules))
    file = f"{name}-rolebindings.kubeconfig"
    next_steps = steps(ACCOUNT, name, file=file, command="reconcile")
    return _HEAD.format(name=name) + text(documents) + next_steps
