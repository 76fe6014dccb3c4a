"""What somebody's grants allow in a namespace, as a list of RBAC rules: `kubectl auth can-i --list`.

A list of rules can say less than the grants do: nothing of what is denied, nothing of what a
permission is needed for. That is said in words beside it, and the cluster's own rules apply
besides, so the list never counts as complete.
"""

from collections.abc import Iterator
from typing import Final

from proxy.authz.applying import Applied, at_cluster
from proxy.authz.matching import ANY, READS
from proxy.authz.roles import KUBERNETES
from proxy.authz.standing import Caller
from proxy.kube.self_review import PathRule, ResourceRule, RulesStatus
from proxy.state.access import Access, ClusterAccess, Rule
from proxy.state.permission import Permission

_ALL: Final = (ANY,)
_QUESTIONS: Final = (
    ResourceRule(
        ("create",),
        ("authorization.k8s.io",),
        ("selfsubjectaccessreviews", "selfsubjectrulesreviews"),
    ),
    ResourceRule(("create",), ("authentication.k8s.io",), ("selfsubjectreviews",)),
)
"""What everybody may ask whom a grant reaches."""
_GREETING: Final = PathRule(
    ("get",),
    (
        *("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/version/"),
        *("/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*"),
    ),
)
_BESIDES: Final = "the cluster's own rules apply besides"


def rules(
    access: Access,
    caller: Caller,
    cluster: str,
    namespace: str,
    now: float,
    *,
    impersonates: bool = False,
) -> RulesStatus:
    """The rules of the grants that reach a namespace of a cluster at wall time `now` (seconds).

    With `impersonates`, of those that allow `--as`.
    """
    here = at_cluster(access, caller, cluster, now)
    near = [
        item
        for item in here.inside.get(namespace, here.whole)
        if not impersonates or Permission.IMPERSONATE in item.role.permissions
    ]
    found = dict.fromkeys(rule for item in near for rule in _of(item, namespace))
    paths = dict.fromkeys(rule for item in near for rule in _paths(item))
    if here.applied:
        found |= dict.fromkeys(_QUESTIONS)
        paths[_GREETING] = None
    denying = [item.role.name for item in here.denying if _reaches(item, namespace)]
    return RulesStatus(tuple(found), tuple(paths), True, _words(near, denying))


def _reaches(item: Applied, namespace: str) -> bool:
    return item.namespaces is None or namespace in item.namespaces


def _of(item: Applied, namespace: str) -> Iterator[ResourceRule]:
    """What one grant allows in the namespace; `*` as the cluster would write it."""
    role = item.role
    if role.clusters is ClusterAccess.FULL:
        yield ResourceRule(_ALL, _ALL, _ALL)
    elif role.clusters is ClusterAccess.READ:
        yield ResourceRule(tuple(sorted(READS)), _ALL, _ALL)
    for rule in role.rules:
        if not rule.paths and _speaks_of(rule, namespace):
            yield ResourceRule(rule.verbs, rule.api_groups, rule.resources, rule.names)


def _paths(item: Applied) -> Iterator[PathRule]:
    """A grant that is limited to namespaces allows no path outside the API."""
    if item.namespaces is not None:
        return
    if item.role.clusters is not ClusterAccess.NONE:
        verbs = _ALL if item.role.clusters is ClusterAccess.FULL else ("get",)
        yield PathRule(verbs, _ALL)
    for rule in item.role.rules:
        if rule.paths:
            yield PathRule(rule.verbs, rule.paths)


def _speaks_of(rule: Rule, namespace: str) -> bool:
    return not rule.namespaces or namespace in rule.namespaces or ANY in rule.namespaces


def _words(near: list[Applied], denying: list[str]) -> str:
    """What the list does not say, as a sentence for whoever reads it."""
    parts = ["kubewitness: these are the rules of the grants"]
    held: frozenset[Permission] = frozenset().union(*(item.role.permissions for item in near))
    lacking = sorted(KUBERNETES - held - {Permission.IMPERSONATE})
    if near and lacking:
        parts.append(f"they give nothing that needs {', '.join(lacking)}")
    if denying:
        parts.append(f"{' and '.join(sorted(set(denying)))} takes some of it away")
    return "; ".join([*parts, _BESIDES])
