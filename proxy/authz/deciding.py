"""May this call be made? The decision of the data plane about somebody whom grants govern.

A call is allowed when one grant that stands reaches it and allows it by itself, and no role granted
to the caller that applies there denies it. Deny wins; whatever is not allowed is denied. Nothing
here waits, and nothing is remembered about a call: a grant counts from the next call on.
"""

from typing import Final

import msgspec

from proxy.authz.applying import Applied, AtCluster, at_cluster
from proxy.authz.matching import READS, Request, matches, needed, touches
from proxy.authz.standing import Caller
from proxy.kube.call_class import CallClass
from proxy.state.access import Access, ClusterAccess
from proxy.state.permission import Permission

__all__ = ["Decision", "Request", "decide", "kubernetes_groups"]

_Needed = frozenset[Permission]
_READING: Final = frozenset({CallClass.READ, CallClass.STREAM})
_GREETING: Final = frozenset({CallClass.DISCOVERY, CallClass.HEALTH})
_READING_METHODS: Final = frozenset({"get", "head"})


class Decision(msgspec.Struct, frozen=True):
    """Whether a call may be made, and why."""

    allowed: bool
    why: str
    """For the record and for people: the grant that allows or denies it, or what is missing."""
    grant: str = ""
    """Id of that grant; empty when there is none."""
    until: float = 0.0
    """Until when, seconds since the epoch, this holds if no grant changes."""


def decide(access: Access, caller: Caller, request: Request, now: float) -> Decision:
    """Whether the caller may make this call at wall time `now` (seconds since the epoch)."""
    here = at_cluster(access, caller, request.cluster, now)
    for item in here.denying:
        if denies(item, request):
            return Decision(False, f"{item.name} denies it", item.grant.id, here.until)
    wanted = needed(request)
    near = here.applied if is_open(request) else here.inside.get(request.info.namespace, here.whole)
    for item in near:
        if allows(item, request, wanted):
            return Decision(True, item.name, item.grant.id, here.until)
    return Decision(False, _missing(here, request, wanted), "", here.until)


def kubernetes_groups(access: Access, caller: Caller, cluster: str, now: float) -> tuple[str, ...]:
    """The groups with which a governed caller's calls reach the cluster, sorted."""
    return at_cluster(access, caller, cluster, now).groups


def denies(item: Applied, request: Request) -> bool:
    """Whether the role of a grant that reaches the cluster denies the request."""
    for rule in item.role.denies:  # noqa: SIM110  # a third of the time of any()
        if touches(rule, request, item.namespaces):
            return True
    return False


def allows(item: Applied, request: Request, wanted: _Needed) -> bool:
    """Whether one grant that reaches the cluster allows the request by itself.

    `wanted` is what `needed` says of it.
    """
    role = item.role
    if wanted and not wanted <= role.permissions:
        return False
    if is_open(request):
        return True
    if not in_reach(item, request):
        return False
    if role.clusters is ClusterAccess.FULL:
        return True
    if role.clusters is ClusterAccess.READ and not wanted and _only_reads(request):
        return True
    for rule in role.rules:  # noqa: SIM110  # a third of the time of any()
        if matches(rule, request):
            return True
    return False


def is_open(request: Request) -> bool:
    """Whether any grant at the cluster is enough: what every client asks before anything else, and
    questions about oneself."""
    if request.call_class in _GREETING:
        return True
    info = request.info
    return request.call_class is CallClass.READ and info.is_resource and info.verb == "create"


def in_reach(item: Applied, request: Request) -> bool:
    """Whether a request lies where a grant is limited to.

    A namespace itself may only be read: whoever may do everything in it did not make it.
    """
    if item.namespaces is None:
        return True
    info = request.info
    if not info.is_resource or info.namespace not in item.namespaces:
        return False
    return info.resource != "namespaces" or info.verb == "get"


def _only_reads(request: Request) -> bool:
    verbs = READS if request.info.is_resource else _READING_METHODS
    return request.info.verb in verbs and request.call_class in _READING


def _missing(here: AtCluster, request: Request, wanted: _Needed) -> str:
    """What stands between the caller and this call, the first thing first."""
    if not here.applied:
        return f"no grant of theirs is for cluster {request.cluster}"
    near = [item for item in here.applied if is_open(request) or in_reach(item, request)]
    if not near:
        return f"no grant of theirs reaches {_place(request)}"
    held = frozenset().union(*(item.role.permissions for item in near))
    names = sorted({item.role.name for item in near})
    none = " and ".join(names) + (" do not" if len(names) > 1 else " does not")
    if lacking := wanted - held:
        return f"it needs {' and '.join(sorted(lacking))}, which {none} give"
    return f"{none} allow it"


def _place(request: Request) -> str:
    info = request.info
    if not info.is_resource:
        return "paths outside the API"
    if not info.namespace:
        return "beyond its namespaces"
    if info.resource == "namespaces":
        return f"namespace {info.namespace} itself, but to get it"
    return f"namespace {info.namespace}"
