"""RoleBindings that a cluster needs, so that its own rules allow what grants in namespaces allow.

Each grant that is limited to a namespace reaches the cluster as a group of its own. A RoleBinding
in that namespace gives the group a ClusterRole: the cluster's own wall behind ours. What should be
there follows from the grants; what is there is compared with it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from proxy.authz.roles import role_of
from proxy.clock import Clock
from proxy.state.access import Access, ClusterAccess, Grant, ScopeKind
from proxy.upstream import manifests
from proxy.upstream.rights import IN_NAMESPACE
from proxy.upstream.rolebindings import RoleBindings

LABEL: Final = "app.kubernetes.io/managed-by"
OWNER: Final = "kubewitness"
SELECTOR: Final = f"{LABEL}={OWNER}"
"""Chooses what is ours. Other RoleBindings are never looked at, let alone changed."""


class Binding(NamedTuple):
    """One RoleBinding of ours, as far as it is ours to say."""

    namespace: str
    name: str
    group: str
    """Who gets the role: a group that calls with such a grant have."""
    cluster_role: str

    def manifest(self) -> dict[str, Any]:
        """The object to create."""
        return manifests.binding(
            self.name,
            self.cluster_role,
            [manifests.group(self.group)],
            namespace=self.namespace,
            labels={LABEL: OWNER},
        )


class Drift(NamedTuple):
    """What differs between a cluster and the grants, in the order in which it is to be mended."""

    missing: tuple[Binding, ...]
    altered: tuple[Binding, ...]
    """There under the name, and not what it should be; a roleRef cannot change, so they are made anew."""
    extra: tuple[tuple[str, str], ...]
    """(namespace, name) of those with our label that no grant asks for."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.altered or self.extra)

    def __len__(self) -> int:
        return len(self.missing) + len(self.altered) + len(self.extra)

    def sentences(self) -> Iterator[str]:
        """Each difference in words."""
        for binding in self.missing:
            yield f"{binding.namespace}/{binding.name} is missing"
        for binding in self.altered:
            yield f"{binding.namespace}/{binding.name} is not as it was made"
        for namespace, name in self.extra:
            yield f"{namespace}/{name} belongs to no grant"


def wanted(
    access: Access, cluster: str, namespaces: frozenset[str], now: float
) -> tuple[Binding, ...]:
    """The RoleBindings that `cluster` needs at wall time `now` (seconds), sorted.

    Only in `namespaces`, those that exist: a grant may come before its namespace.
    """
    found = {
        _binding(grant.role, level, namespace)
        for grant in access.grants
        if grant.expires_at is None or grant.expires_at > now
        for level in _level(access, grant)
        for namespace in _namespaces(access, grant, cluster)
        if namespace in namespaces
    }
    return tuple(sorted(found))


async def look(
    bindings: RoleBindings, cluster: str, access: Callable[[], Access], clock: Clock
) -> Drift:
    """Ask `cluster` what is there, and compare it with the grants.

    `access` is called when the cluster has answered: what was granted meanwhile counts. Raises
    UnavailableError when it does not answer, or refuses the account.
    """
    namespaces, found = await bindings.namespaces(), await bindings.ours(SELECTOR)
    return difference(wanted(access(), cluster, namespaces, clock.now()), found)


def difference(expected: Iterable[Binding], items: Iterable[Mapping[str, Any]]) -> Drift:
    """What differs; `items` are the cluster's RoleBindings that carry our label."""
    by_place = {(binding.namespace, binding.name): binding for binding in expected}
    altered, extra, seen = [], [], set()
    for item in items:
        place = (str(item["metadata"]["namespace"]), str(item["metadata"]["name"]))
        seen.add(place)
        binding = by_place.get(place)
        if binding is None:
            extra.append(place)
        elif not _same(binding, item):
            altered.append(binding)
    missing = [binding for place, binding in by_place.items() if place not in seen]
    return Drift(tuple(sorted(missing)), tuple(sorted(altered)), tuple(sorted(extra)))


def _level(access: Access, grant: Grant) -> Iterator[ClusterAccess]:
    role = role_of(access, grant.role)
    # What a custom role allows in clusters is said by its own Kubernetes groups.
    if role is not None and role.built_in and role.clusters in IN_NAMESPACE:
        yield role.clusters


def _namespaces(access: Access, grant: Grant, cluster: str) -> Iterator[str]:
    scope = grant.scope
    if scope.kind is ScopeKind.NAMESPACE and scope.cluster == cluster:
        yield scope.namespace
    elif scope.kind is ScopeKind.PROJECT and scope.project in access.projects:
        for place in access.projects[scope.project].places:
            if place.cluster == cluster:
                yield from place.namespaces


def _binding(role: str, level: ClusterAccess, namespace: str) -> Binding:
    return Binding(
        namespace=namespace,
        name=f"{OWNER}-{role}",
        group=f"{OWNER}:{role}:{namespace}",
        cluster_role=IN_NAMESPACE[level],
    )


def _same(binding: Binding, item: Mapping[str, Any]) -> bool:
    made = binding.manifest()
    reference = item.get("roleRef") or {}
    subjects = item.get("subjects") or []
    return (
        {key: reference.get(key) for key in made["roleRef"]} == made["roleRef"]
        and len(subjects) == 1
        and all(subjects[0].get(key) == value for key, value in made["subjects"][0].items())
    )
