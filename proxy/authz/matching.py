"""What a request is to the grants: which permissions it needs, and which rules speak of it. Pure.

Everything is decided by the attributes that kube-apiserver will see (`proxy.kube.request_info`) and
by `Upgrade`, never by the spelling of a path.
"""

from typing import Final, NamedTuple

from proxy.kube.call_class import CallClass
from proxy.kube.cluster_scoped import is_cluster_scoped
from proxy.kube.request_info import RequestInfo
from proxy.state.access import Rule
from proxy.state.permission import Permission

READS: Final = frozenset({"get", "list", "watch"})
ANY: Final = "*"
_NOTHING: Final[frozenset[Permission]] = frozenset()
_STREAMS: Final = {
    "exec": Permission.EXEC,
    "attach": Permission.ATTACH,
    "portforward": Permission.PORT_FORWARD,
}
_TELLING: Final = frozenset({"secrets", ANY})
"""Resources that are special by themselves."""
_OF_MANY: Final = frozenset({"list", "watch", "deletecollection"})
"""Verbs about all objects there are, wherever no name or namespace says otherwise."""


class Request(NamedTuple):
    """One call, or one question about a call, to a cluster."""

    cluster: str
    info: RequestInfo
    call_class: CallClass
    upgrade: bool = False
    impersonates: bool = False
    """`--as` is asked for."""


def needed(request: Request) -> frozenset[Permission]:
    """What the request needs besides a grant that reaches it: all of these, in that grant's role.

    `*` stands for everything, which only questions ask about (`kubectl auth can-i`).
    """
    info = request.info
    subresource = info.subresource
    plain = not (subresource or request.upgrade or request.impersonates)
    if plain and info.resource not in _TELLING and info.verb != "proxy":
        return _NOTHING
    found: list[Permission] = []
    if subresource in _STREAMS:
        found.append(_STREAMS[subresource])
    elif subresource == "proxy" or info.verb == "proxy":
        found.append(Permission.PROXY)
    elif request.upgrade:
        found.append(Permission.EXEC)
    if subresource == "token" and info.resource == "serviceaccounts":
        found.append(Permission.TOKENS)
    if info.resource == "secrets" and (info.verb in READS or info.verb == ANY):
        found.append(Permission.READ_SECRETS)
    if info.resource == ANY or subresource == ANY:
        found += _needed_for_all(info)
    if request.impersonates:
        found.append(Permission.IMPERSONATE)
    return frozenset(found) if found else _NOTHING


def _needed_for_all(info: RequestInfo) -> list[Permission]:
    found = []
    if info.resource == ANY and (info.verb in READS or info.verb == ANY):
        found.append(Permission.READ_SECRETS)
    if info.verb == ANY or info.subresource == ANY:
        found += [*_STREAMS.values(), Permission.PROXY, Permission.TOKENS]
    return found


def matches(rule: Rule, request: Request) -> bool:
    """Whether a rule speaks of the request."""
    info = request.info
    if not info.is_resource:
        return _matches_path(rule, info)
    return (
        _matches_kind(rule, info)
        and _named(rule.namespaces, info.namespace)
        and _named(rule.names, info.name)
    )


def touches(rule: Rule, request: Request, namespaces: frozenset[str] | None) -> bool:
    """Whether a rule that denies speaks of the request, or of anything that the request is about.

    Who may not see one secret may not list all of them either, and who may do nothing in one
    namespace may not list the objects of all.

    Args:
        rule: the rule that denies.
        request: what is asked for.
        namespaces: those that the grant of the rule is limited to; None: the whole cluster.
    """
    info = request.info
    if not info.is_resource:
        return namespaces is None and _matches_path(rule, info)
    if not _matches_kind(rule, info):
        return False
    about_many = info.verb in _OF_MANY or (not info.name and info.verb != "create")
    if not (_named(rule.names, info.name) or (about_many and not info.name)):
        return False
    in_reach = namespaces is None or info.namespace in namespaces
    if in_reach and _named(rule.namespaces, info.namespace):
        return True
    return about_many and not info.namespace and not is_cluster_scoped(info.group, info.resource)


def _matches_path(rule: Rule, info: RequestInfo) -> bool:
    return (info.verb in rule.verbs or ANY in rule.verbs) and any(
        info.path.startswith(path[:-1]) if path.endswith(ANY) else info.path == path
        for path in rule.paths
    )


def _matches_kind(rule: Rule, info: RequestInfo) -> bool:
    """Verb, group and resource; a rule for paths has none of the latter."""
    verb = "create" if info.subresource in _STREAMS else info.verb
    return (
        (verb in rule.verbs or ANY in rule.verbs)
        and (info.group in rule.api_groups or ANY in rule.api_groups)
        and _matches_resource(rule.resources, info.resource, info.subresource)
    )


def _matches_resource(resources: tuple[str, ...], resource: str, subresource: str) -> bool:
    if ANY in resources:
        return True
    if not subresource:
        return resource in resources
    return (
        f"{resource}/{subresource}" in resources
        or f"*/{subresource}" in resources
        or f"{resource}/*" in resources
        or "*/*" in resources
    )


def _named(names: tuple[str, ...], name: str) -> bool:
    """Whether a list of names that may be empty (any name, and none) has this one."""
    return not names or (name != "" and name in names) or ANY in names
