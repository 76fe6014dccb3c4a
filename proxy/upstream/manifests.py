"""What an administrator applies to a cluster for us: accounts, roles and bindings, as YAML. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

NAMESPACE: Final = "kubewitness"
LABELS: Final = {"app.kubernetes.io/name": "kubewitness"}
RBAC: Final = "rbac.authorization.k8s.io"
"""The API group of roles and bindings."""

Document = dict[str, Any]

_STEPS: Final = """\
---
# Next, with the same kubectl context: a kubeconfig of this account (no secret in any argument).
#
#   (umask 077; kubectl -n {namespace} get secret {account}-token -o go-template='
#   {{"apiVersion":"v1","kind":"Config","current-context":"{cluster}",
#    "clusters":[{{"name":"{cluster}","cluster":{{"server":"SERVER","certificate-authority-data":"{{{{index .data "ca.crt"}}}}"}}}}],
#    "users":[{{"name":"{cluster}","user":{{"token":"{{{{.data.token | base64decode}}}}"}}}}],
#    "contexts":[{{"name":"{cluster}","context":{{"cluster":"{cluster}","user":"{cluster}"}}}}]}}' |
#   sed "s#SERVER#$(kubectl config view --minify -o jsonpath='{{.clusters[0].cluster.server}}')#" > {file})
#   kubewitness cluster {command} {cluster} --kubeconfig {file} && rm {file}
"""


def text(documents: Iterable[Document]) -> str:
    """The documents as YAML."""
    return "---\n".join(
        yaml.safe_dump(document, sort_keys=False, allow_unicode=True) for document in documents
    )


def steps(account: str, cluster: str, *, file: str, command: str) -> str:
    """Comments: how to make `file`, a kubeconfig of the account, and give it to `command`."""
    return _STEPS.format(
        namespace=NAMESPACE, account=account, cluster=cluster, file=file, command=command
    )


def account(name: str, role: Document, *, token: bool = True) -> list[Document]:
    """An account in our namespace with this role alone; with `token`, a Secret of a lasting one."""
    subject = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
    role_name = role["metadata"]["name"]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": _metadata(NAMESPACE)},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": _metadata(name, NAMESPACE),
            "automountServiceAccountToken": False,
        },
        *([_token(name)] if token else []),
        role,
        binding(role_name, role_name, [subject]),
    ]


def _token(account: str) -> Document:
    annotations = {"kubernetes.io/service-account.name": account}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**_metadata(f"{account}-token", NAMESPACE), "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
    }


def cluster_role(name: str, rules: Sequence[Document]) -> Document:
    """A ClusterRole of ours."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": _metadata(name),
        "rules": list(rules),
    }


def binding(
    name: str,
    role: str,
    subjects: Sequence[Document],
    *,
    namespace: str = "",
    labels: Mapping[str, str] = LABELS,
) -> Document:
    """A ClusterRole bound to `subjects`, in one namespace or everywhere."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": _metadata(name, namespace, labels),
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": list(subjects),
    }


def group(name: str) -> Document:
    """A group as a subject of a binding."""
    return {"apiGroup": RBAC, "kind": "Group", "name": name}


def _metadata(name: str, namespace: str = "", labels: Mapping[str, str] = LABELS) -> Document:
    place = {"namespace": namespace} if namespace else {}
    return {"name": name, **place, "labels": dict(labels)}
