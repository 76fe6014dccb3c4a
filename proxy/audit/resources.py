"""Resources as people write them: `pods`, `deploy`, `deployments.apps`, `pods/exec`."""

from functools import lru_cache
from typing import Final, NamedTuple

from proxy.errors import InvalidInputError

SHORT_NAMES: Final = {
    "cm": "configmaps",
    "cr": "clusterroles",
    "crb": "clusterrolebindings",
    "crd": "customresourcedefinitions",
    "crds": "customresourcedefinitions",
    "cj": "cronjobs",
    "cs": "componentstatuses",
    "csr": "certificatesigningrequests",
    "deploy": "deployments",
    "ds": "daemonsets",
    "ep": "endpoints",
    "ev": "events",
    "hpa": "horizontalpodautoscalers",
    "ing": "ingresses",
    "limits": "limitranges",
    "netpol": "networkpolicies",
    "no": "nodes",
    "ns": "namespaces",
    "pc": "priorityclasses",
    "pdb": "poddisruptionbudgets",
    "po": "pods",
    "pv": "persistentvolumes",
    "pvc": "persistentvolumeclaims",
    "quota": "resourcequotas",
    "rc": "replicationcontrollers",
    "rs": "replicasets",
    "sa": "serviceaccounts",
    "sc": "storageclasses",
    "sts": "statefulsets",
    "svc": "services",
}
"""Short names of Kubernetes' own resources (`kubectl api-resources`), and two habits beside them."""

_SINGULAR: Final = {
    "configmap": "configmaps",
    "cronjob": "cronjobs",
    "daemonset": "daemonsets",
    "deployment": "deployments",
    "event": "events",
    "ingress": "ingresses",
    "job": "jobs",
    "lease": "leases",
    "namespace": "namespaces",
    "networkpolicy": "networkpolicies",
    "node": "nodes",
    "pod": "pods",
    "replicaset": "replicasets",
    "role": "roles",
    "rolebinding": "rolebindings",
    "secret": "secrets",
    "service": "services",
    "serviceaccount": "serviceaccounts",
    "statefulset": "statefulsets",
}


class Resource(NamedTuple):
    """What is asked for; None where anything will do."""

    resource: str
    api_group: str | None = None
    subresource: str | None = None


@lru_cache(maxsize=512)
def parse_resource(text: str) -> Resource:
    """Read one form. `pods` means its subresources too, `pods/` only the resource itself.

    Raises InvalidInputError when there is no resource in it.
    """
    head, slash, subresource = text.strip().lower().partition("/")
    name, dot, group = head.partition(".")
    if not name or "/" in subresource:
        raise InvalidInputError(
            f"{text!r} is not a resource.",
            hint="Write it as pods, deploy, deployments.apps or pods/exec.",
        )
    name = SHORT_NAMES.get(name) or _SINGULAR.get(name) or name
    return Resource(name, group if dot else None, subresource if slash else None)


def parse_object(text: str) -> tuple[Resource, str]:
    """`deploy/web` or `pods.v1/web` → the resource and the name.

    Raises InvalidInputError when one of the two is missing.
    """
    head, slash, name = text.strip().partition("/")
    if not slash or not name or "/" in name:
        raise InvalidInputError(
            f"{text!r} is not an object.", hint="Write it as RESOURCE/NAME, like deploy/web."
        )
    return parse_resource(head), name
