"""The rules of access once more: slow, obvious, sentence by sentence, with nothing of the product's.

It shares the values (`proxy.state.access`) and what Kubernetes makes of a URL (`RequestInfo`), and no
rule. It keeps nothing, looks at every grant for every question, and tells reading from writing by
the HTTP method, where the product goes by the class of the call.
"""

from typing import NamedTuple

from proxy.kube.request_info import RequestInfo
from proxy.state.access import Access, Grant, Rule, Scope

FULL_ROLES = {"admin", "project-admin", "cluster-admin", "namespace-admin"}
READ_ROLES = {"admin-read-only", "project-read-only", "namespace-read-only"}
NO_CLUSTER_ROLES = {"auditor"}
IN_NO_NAMESPACE = {
    ("", "nodes"),
    ("", "namespaces"),
    ("", "persistentvolumes"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("storage.k8s.io", "storageclasses"),
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
}
SELF_REVIEWS = {
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
}


class Asked(NamedTuple):
    """A request: what came over the wire, and what Kubernetes understands by it."""

    cluster: str
    method: str
    info: RequestInfo
    upgrade: bool
    impersonates: bool


def is_governed(access: Access, user: str, certificate: tuple[str, ...]) -> bool:
    """A user that is registered, or a group of the certificate that is."""
    if user in access.users:
        return True
    return any(group in access.groups for group in certificate)


def groups_that_count(access: Access, user: str, certificate: tuple[str, ...]) -> tuple[str, ...]:
    """The registry's for whom it knows, the certificate's for others."""
    if user in access.users:
        return access.users[user].groups
    return certificate


def grants_that_stand(
    access: Access, user: str, certificate: tuple[str, ...], now: float
) -> list[Grant]:
    """To the user or one of their groups, registered, not revoked, not over; none when disabled."""
    if user in access.users and access.users[user].disabled_at is not None:
        return []
    found = []
    for grant in access.grants:
        if grant.revoked_at is not None:
            continue
        if grant.expires_at is not None and now >= grant.expires_at:
            continue
        if grant.subject_kind == "user" and (grant.subject != user or user not in access.users):
            continue
        if grant.subject_kind == "group":
            if grant.subject not in access.groups:
                continue
            if grant.subject not in groups_that_count(access, user, certificate):
                continue
        found.append(grant)
    return found


def places(access: Access, scope: Scope, cluster: str) -> list[str]:
    """Where a scope reaches into a cluster: `["*"]` for all of it, namespaces, or nothing."""
    if scope.kind == "organization":
        return ["*"]
    if scope.kind == "cluster":
        return ["*"] if scope.cluster == cluster else []
    if scope.kind == "namespace":
        return [scope.namespace] if scope.cluster == cluster else []
    if scope.project not in access.projects:
        return []
    for place in access.projects[scope.project].places:
        if place.cluster == cluster:
            return list(place.namespaces) or ["*"]
    return []


def specials(asked: Asked) -> set[str]:
    """What is more than reading and writing, by the parsed subresource and `Upgrade`."""
    info = asked.info
    found = set()
    if info.subresource == "exec":
        found.add("kubernetes.exec")
    if info.subresource == "attach":
        found.add("kubernetes.attach")
    if info.subresource == "portforward":
        found.add("kubernetes.port-forward")
    if info.subresource == "proxy" or info.verb == "proxy":
        found.add("kubernetes.proxy")
    if asked.upgrade and not found:
        found.add("kubernetes.exec")
    if info.resource == "serviceaccounts" and info.subresource == "token":
        found.add("kubernetes.token")
    if info.resource == "secrets" and info.verb in ("get", "list", "watch"):
        found.add("kubernetes.secrets")
    if info.subresource == "*":
        found |= {"kubernetes.exec", "kubernetes.attach", "kubernetes.port-forward"}
        found |= {"kubernetes.proxy", "kubernetes.token"}
    if asked.impersonates:
        found.add("kubernetes.impersonate")
    return found


def permissions(access: Access, name: str) -> set[str]:
    """The special permissions that a role holds."""
    if name in FULL_ROLES:
        return {
            "kubernetes.exec",
            "kubernetes.attach",
            "kubernetes.port-forward",
            "kubernetes.proxy",
            "kubernetes.token",
            "kubernetes.secrets",
            "kubernetes.impersonate",
        }
    if name in READ_ROLES | NO_CLUSTER_ROLES or name not in access.roles:
        return set()
    return {permission.value for permission in access.roles[name].permissions}


def gives_something_in_clusters(access: Access, name: str) -> bool:
    """Full, read, or a rule."""
    if name in FULL_ROLES | READ_ROLES:
        return True
    if name in NO_CLUSTER_ROLES or name not in access.roles:
        return False
    return len(access.roles[name].rules) > 0


def is_for_everybody_there(asked: Asked) -> bool:
    """Discovery, health, version, and questions about oneself."""
    info = asked.info
    if asked.upgrade:
        return False
    if info.is_resource:
        question = info.verb == "create" and (info.group, info.resource) in SELF_REVIEWS
        return asked.method == "POST" and question and info.name == ""
    first = info.path.strip("/").split("/")[0]
    known = {"api", "apis", "openapi", "version", "healthz", "livez", "readyz"}
    return asked.method in ("GET", "HEAD") and first in known


def verb_of_rules(info: RequestInfo) -> str:
    """Streams into pods are created, whatever the method."""
    return "create" if info.subresource in ("exec", "attach", "portforward") else info.verb


def says_kind(rule: Rule, info: RequestInfo) -> bool:
    """Verb, API group and resource of a rule for resources."""
    if rule.paths:
        return False
    if "*" not in rule.verbs and verb_of_rules(info) not in rule.verbs:
        return False
    if "*" not in rule.api_groups and info.group not in rule.api_groups:
        return False
    for resource in rule.resources:
        if resource == "*":
            return True
        kind, slash, sub = resource.partition("/")
        if not slash and info.subresource == "" and kind == info.resource:
            return True
        deeper = slash and info.subresource != ""
        if deeper and kind in ("*", info.resource) and sub in ("*", info.subresource):
            return True
    return False


def says_path(rule: Rule, info: RequestInfo) -> bool:
    """Verb and path of a rule for what is no resource."""
    if "*" not in rule.verbs and info.verb not in rule.verbs:
        return False
    for path in rule.paths:
        if path == info.path:
            return True
        if path.endswith("*") and info.path.startswith(path.removesuffix("*")):
            return True
    return False


def lists(names: tuple[str, ...], name: str) -> bool:
    """An empty list, or one with `*`, means any; otherwise it must be there, and not be empty."""
    if len(names) == 0 or "*" in names:
        return True
    return name != "" and name in names


def rule_allows(rule: Rule, info: RequestInfo) -> bool:
    """Every member of the rule holds."""
    if not info.is_resource:
        return says_path(rule, info)
    return (
        says_kind(rule, info)
        and lists(rule.namespaces, info.namespace)
        and lists(rule.names, info.name)
    )


def rule_denies(rule: Rule, info: RequestInfo, reach: list[str]) -> bool:
    """As above, and also when the request is about many things of which it denies one."""
    if not info.is_resource:
        return reach == ["*"] and says_path(rule, info)
    if not says_kind(rule, info):
        return False
    about_many = info.verb in ("list", "watch", "deletecollection")
    if info.name == "" and info.verb != "create":
        about_many = True
    by_name = lists(rule.names, info.name)
    if about_many and info.name == "":
        by_name = True
    by_namespace = lists(rule.namespaces, info.namespace)
    if reach != ["*"] and info.namespace not in reach:
        by_namespace = False
    everywhere = info.namespace == "" and (info.group, info.resource) not in IN_NO_NAMESPACE
    if about_many and everywhere:
        by_namespace = True
    return by_name and by_namespace


def grant_allows(access: Access, grant: Grant, asked: Asked) -> bool:
    """One grant, by itself."""
    info = asked.info
    reach = places(access, grant.scope, asked.cluster)
    if not reach or not gives_something_in_clusters(access, grant.role):
        return False
    if not specials(asked) <= permissions(access, grant.role):
        return False
    if is_for_everybody_there(asked):
        return True
    if reach != ["*"]:
        inside = info.is_resource and info.namespace in reach
        if not inside or (info.resource == "namespaces" and info.verb != "get"):
            return False
    if grant.role in FULL_ROLES:
        return True
    if grant.role in READ_ROLES:
        if asked.upgrade or specials(asked) or asked.method not in ("GET", "HEAD"):
            return False
        return not info.is_resource or info.verb in ("get", "list", "watch")
    return any(rule_allows(rule, info) for rule in access.roles[grant.role].rules)


def grant_denies(access: Access, grant: Grant, asked: Asked) -> bool:
    """A rule of a custom role that denies, where the grant applies."""
    reach = places(access, grant.scope, asked.cluster)
    if not reach or grant.role not in access.roles or grant.role in FULL_ROLES:
        return False
    return any(rule_denies(rule, asked.info, reach) for rule in access.roles[grant.role].denies)


def may(access: Access, user: str, certificate: tuple[str, ...], asked: Asked, now: float) -> bool:
    """Whether grants allow the request: one allows it, and none denies it."""
    grants = grants_that_stand(access, user, certificate, now)
    if any(grant_denies(access, grant, asked) for grant in grants):
        return False
    return any(grant_allows(access, grant, asked) for grant in grants)


def groups_in_the_cluster(
    access: Access, user: str, certificate: tuple[str, ...], cluster: str, now: float
) -> list[str]:
    """Whom the cluster sees, sorted, each once."""
    found = set()
    for grant in grants_that_stand(access, user, certificate, now):
        for place in places(access, grant.scope, cluster):
            if grant.role in FULL_ROLES | READ_ROLES and gives_something_in_clusters(
                access, grant.role
            ):
                end = "" if place == "*" else f":{place}"
                found.add(f"kubewitness:{grant.role}{end}")
            if grant.role in access.roles and grant.role not in FULL_ROLES:
                for group in access.roles[grant.role].kubernetes_groups:
                    if not group.lower().startswith(("system:", "kubewitness:")):
                        found.add(group)
    return sorted(found)
