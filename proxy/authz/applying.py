"""What the grants of a caller come to at one cluster, worked out once and kept while it holds.

A call takes a few µs to decide because all that does not depend on the call is done here: which
grants reach the cluster, whole or by namespaces, and with which groups the cluster sees the caller.
What was worked out holds for one value of `Access` and for a span of time in which no grant ends.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from proxy.authz.roles import PREFIX, reaches_clusters, role_of
from proxy.authz.standing import Caller, granted, is_over
from proxy.kube.impersonation import check_name
from proxy.state.access import Access, Grant, Role, Scope, ScopeKind

_MOST: Final = 20_000
"""Pairs of a caller and a cluster that are kept; all are forgotten when there are more."""


class Applied(NamedTuple):
    """A grant that stands, at one cluster."""

    grant: Grant
    role: Role
    namespaces: frozenset[str] | None
    """Those it is limited to; None: the whole cluster."""
    name: str
    """The grant in words: which, of which role, where."""


class AtCluster(NamedTuple):
    """All that stands for one caller at one cluster, in the span `since` ≤ now < `until`."""

    applied: tuple[Applied, ...]
    """Those whose role allows something in clusters."""
    whole: tuple[Applied, ...]
    """Of these, those that are limited to no namespace."""
    inside: Mapping[str, tuple[Applied, ...]]
    """By namespace: those that reach it, where some are limited to it."""
    denying: tuple[Applied, ...]
    """Those whose role denies something."""
    groups: tuple[str, ...]
    """Whom the cluster sees: `kubewitness:…` and the groups that custom roles name. Sorted."""
    since: float
    until: float


def reach(access: Access, scope: Scope, cluster: str) -> tuple[bool, frozenset[str] | None]:
    """Whether a scope reaches a cluster, and if so the namespaces it is limited to (None: all)."""
    if scope.kind is ScopeKind.ORGANIZATION:
        return True, None
    if scope.kind is ScopeKind.PROJECT:
        project = access.projects.get(scope.project)
        for place in () if project is None else project.places:
            if place.cluster == cluster:
                return True, frozenset(place.namespaces) if place.namespaces else None
        return False, None
    if scope.cluster != cluster:
        return False, None
    if scope.kind is ScopeKind.CLUSTER:
        return True, None
    return True, frozenset({scope.namespace})


def at_cluster(access: Access, caller: Caller, cluster: str, now: float) -> AtCluster:
    """What stands for the caller at the cluster at wall time `now` (seconds since the epoch)."""
    if _kept.access is not access or len(_kept.found) > _MOST:
        _kept.access = access
        _kept.found = {}
    key = (caller, cluster)
    found = _kept.found.get(key)
    if found is None or not found.since <= now < found.until:
        found = _kept.found[key] = _work_out(access, caller, cluster, now)
    return found


def applied_to(access: Access, grant: Grant, role: Role, cluster: str) -> Applied | None:
    """A grant as it applies to a cluster; None when it does not reach it."""
    reaches, namespaces = reach(access, grant.scope, cluster)
    if not reaches:
        return None
    name = f"grant {grant.id} of role {grant.role} in {grant.scope}"
    return Applied(grant, role, namespaces, name)


class _Kept:
    """What was worked out of the newest `Access`."""

    def __init__(self) -> None:
        self.access: Access | None = None
        self.found: dict[tuple[Caller, str], AtCluster] = {}


_kept: Final = _Kept()


def _work_out(access: Access, caller: Caller, cluster: str, now: float) -> AtCluster:
    applied: list[Applied] = []
    until = math.inf
    for grant in granted(access, caller):
        if is_over(grant, now):
            continue
        role = role_of(access, grant.role)
        item = None if role is None else applied_to(access, grant, role, cluster)
        if item is None:
            continue
        if grant.expires_at is not None:
            until = min(until, grant.expires_at)
        applied.append(item)
    useful = tuple(item for item in applied if reaches_clusters(item.role))
    names = {name for item in useful for name in item.namespaces or ()}
    return AtCluster(
        applied=useful,
        whole=tuple(item for item in useful if item.namespaces is None),
        inside={
            name: tuple(
                item for item in useful if item.namespaces is None or name in item.namespaces
            )
            for name in names
        },
        denying=tuple(item for item in applied if item.role.denies),
        groups=tuple(sorted({group for item in applied for group in _groups(item)})),
        since=now,
        until=until,
    )


def _groups(item: Applied) -> Iterator[str]:
    """The groups in the cluster that one grant gives; nothing that Kubernetes owns, ever.

    A custom role gives those that it names: the cluster has to know what they may do.
    """
    role = item.role
    if role.built_in and reaches_clusters(role):
        if item.namespaces is None:
            yield f"{PREFIX}{role.name}"
        for namespace in item.namespaces or ():
            yield f"{PREFIX}{role.name}:{namespace}"
    yield from filter(_is_harmless, role.kubernetes_groups)


def _is_harmless(group: str) -> bool:
    try:
        check_name("group", group)
    except ValueError:
        return False
    return True
