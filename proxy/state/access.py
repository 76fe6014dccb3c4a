"""Who exists, and what was granted to whom: users, groups, projects, roles and grants, as values.

What follows from them (who may do what) is decided in `proxy.authz`, and nowhere else.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from proxy.state.permission import Permission


class UserKind(StrEnum):
    """Who stands behind a name."""

    PERSON = "person"
    SERVICE = "service"
    """A machine: CI, Prometheus."""


class User(msgspec.Struct, frozen=True):
    """Somebody who is registered. A user that was removed stays, disabled, so that a credential of
    theirs can never pass for one of somebody unknown."""

    name: str
    """As in the certificate (CN) and as Kubernetes sees it."""
    kind: UserKind
    groups: tuple[str, ...]
    """Names, sorted: the groups they are in now. What a certificate says of groups does not count."""
    created_at: float
    created_by: str
    display_name: str = ""
    disabled_at: float | None = None
    """Seconds since the epoch; set, nothing of theirs is accepted."""
    disabled_reason: str = ""
    changed: int = 0
    """Version of the state at which it last changed: its ETag."""


class Group(msgspec.Struct, frozen=True):
    """A group of users, to be granted something."""

    name: str
    created_at: float
    created_by: str
    description: str = ""
    changed: int = 0


class Place(msgspec.Struct, frozen=True):
    """A cluster, or some namespaces of it, in a project."""

    cluster: str
    namespaces: tuple[str, ...] = ()
    """Sorted; empty means the whole cluster."""


class Project(msgspec.Struct, frozen=True):
    """Clusters, whole or by namespaces, that belong together."""

    name: str
    places: tuple[Place, ...]
    """At most one for each cluster, sorted by its name."""
    created_at: float
    created_by: str
    description: str = ""
    changed: int = 0


class ScopeKind(StrEnum):
    """How far a grant goes."""

    ORGANIZATION = "organization"
    PROJECT = "project"
    CLUSTER = "cluster"
    NAMESPACE = "namespace"


class Scope(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a grant holds. `str` gives `organization`, `project/shop`, `cluster/prod` or
    `namespace/prod/web`."""

    kind: ScopeKind
    project: str = ""
    cluster: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        names = [name for name in (self.project, self.cluster, self.namespace) if name]
        return "/".join([self.kind.value, *names])


ORGANIZATION = Scope(ScopeKind.ORGANIZATION)


class SubjectKind(StrEnum):
    """To whom something is granted."""

    USER = "user"
    GROUP = "group"


class Grant(msgspec.Struct, frozen=True):
    """Somebody's role, somewhere."""

    id: str
    """UUIDv7."""
    subject_kind: SubjectKind
    subject: str
    role: str
    scope: Scope
    created_at: float
    created_by: str
    reason: str = ""
    expires_at: float | None = None
    """Seconds since the epoch; from then on it does not count."""
    revoked_at: float | None = None
    revoked_by: str = ""
    revoked_reason: str = ""
    changed: int = 0


class Rule(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Kubernetes requests, in the words of an RBAC PolicyRule; each member must hold.

    `*` in a list means anything. A resource may name its subresource (`pods/log`, `*/scale`, `pods/*`);
    without one only the resource itself is meant, and `*` alone means all, subresources included.
    """

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    """Empty: every namespace of the grant's scope, and what is in none if the scope is that wide."""
    names: tuple[str, ...] = ()
    """Of objects; empty: any, and requests that name none."""
    paths: tuple[str, ...] = ()
    """Of requests for no resource, such as `/metrics`; with `*` at the end by how they begin. A rule
    has these, or the others."""


class ClusterAccess(StrEnum):
    """What a built-in role may do in clusters."""

    NONE = "none"
    READ = "read"
    """get, list and watch, without what the `kubernetes.` permissions are about."""
    FULL = "full"


class Role(msgspec.Struct, frozen=True):
    """What a grant gives."""

    name: str
    description: str
    scopes: tuple[ScopeKind, ...]
    """Where it can be granted."""
    permissions: frozenset[Permission] = frozenset()
    clusters: ClusterAccess = ClusterAccess.NONE
    """Of built-in roles; custom ones say it by rules."""
    rules: tuple[Rule, ...] = ()
    denies: tuple[Rule, ...] = ()
    """What nobody with this role may do in its scope, whatever else was granted to them."""
    kubernetes_groups: tuple[str, ...] = ()
    """Groups that calls have in the cluster, for its own rules, besides those of built-in roles."""
    built_in: bool = False
    created_at: float = 0.0
    created_by: str = ""
    changed: int = 0


class Access(msgspec.Struct, frozen=True):
    """All of it, at one moment."""

    users: Mapping[str, User]
    groups: Mapping[str, Group]
    projects: Mapping[str, Project]
    roles: Mapping[str, Role]
    """Custom ones, by name; `proxy.authz.roles` knows those that are built in."""
    grants: tuple[Grant, ...]
    """Those that were not revoked, the oldest first. Ones that expired may be among them."""
    version: int = 0
    """Of the state, when any of this or a token last changed."""


NO_ACCESS = Access(
    users=MappingProxyType({}),
    groups=MappingProxyType({}),
    projects=MappingProxyType({}),
    roles=MappingProxyType({}),
    grants=(),
)
"""Nobody is registered and nothing is granted."""
