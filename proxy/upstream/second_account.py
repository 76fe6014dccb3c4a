"""The manifest of a second account at a cluster: it keeps the RoleBindings of grants, and nothing else.

It may hand out no role but the two that RoleBindings of ours refer to (`bind`, as Kubernetes' RBAC
has it), and impersonate nobody.
"""

from typing import Any, Final

import yaml

from proxy.upstream.bootstrap import NAMESPACE

ACCOUNT: Final = "kubewitness-rolebindings"
_GROUP: Final = "rbac.authorization.k8s.io"
_LABELS: Final = {"app.kubernetes.io/name": "kubewitness"}
_BOUND: Final = ("admin", "view")


def manifest(name: str) -> str:
    """YAML for the account on the cluster that is called `name` here, with the next steps."""
    documents = [_namespace(), _account(), _token(), _role(), _binding()]
    return "---\n".join([_HEAD.format(name=name), *map(_yaml, documents)]) + _STEPS.format(
        name=name, namespace=NAMESPACE, account=ACCOUNT
    )


_HEAD: Final = """\
# A second account of kubewitness on cluster {name}: it keeps RoleBindings in step with the grants.
# It may bind the ClusterRoles admin and view in any namespace, and impersonate nobody.
# Apply it as an administrator of that cluster:  kubectl apply -f -
"""
_STEPS: Final = """\
---
# Next, with the same kubectl context: a kubeconfig of this account (no secret in any argument).
#
#   (umask 077; kubectl -n {namespace} get secret {account}-token -o go-template='
#   {{"apiVersion":"v1","kind":"Config","current-context":"{name}",
#    "clusters":[{{"name":"{name}","cluster":{{"server":"SERVER","certificate-authority-data":"{{{{index .data "ca.crt"}}}}"}}}}],
#    "users":[{{"name":"{name}","user":{{"token":"{{{{.data.token | base64decode}}}}"}}}}],
#    "contexts":[{{"name":"{name}","context":{{"cluster":"{name}","user":"{name}"}}}}]}}' |
#   sed "s#SERVER#$(kubectl config view --minify -o jsonpath='{{.clusters[0].cluster.server}}')#" > {name}-rolebindings.kubeconfig)
#   kubewitness cluster reconcile {name} --kubeconfig {name}-rolebindings.kubeconfig && rm {name}-rolebindings.kubeconfig
"""


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def _metadata(name: str, namespace: str = "") -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"name": name, **place, "labels": dict(_LABELS)}


def _namespace() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": _metadata(NAMESPACE)}


def _account() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(ACCOUNT, NAMESPACE),
        "automountServiceAccountToken": False,
    }


def _token() -> dict[str, Any]:
    metadata = _metadata(f"{ACCOUNT}-token", NAMESPACE)
    metadata["annotations"] = {"kubernetes.io/service-account.name": ACCOUNT}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "kubernetes.io/service-account-token",
    }


def _role() -> dict[str, Any]:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": _metadata(ACCOUNT),
        "rules": [
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"]},
            {
                "apiGroups": [_GROUP],
                "resources": ["rolebindings"],
                "verbs": ["list", "create", "delete"],
            },
            {
                "apiGroups": [_GROUP],
                "resources": ["clusterroles"],
                "verbs": ["bind"],
                "resourceNames": list(_BOUND),
            },
        ],
    }


def _binding() -> dict[str, Any]:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(ACCOUNT),
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
    }
