"""The built-in roles, in one table.

The table of docs/reference/roles.md is made from this one.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.state.access import Access, ClusterAccess, Role, ScopeKind
from proxy.state.permission import Permission

PREFIX: Final = "kubewitness:"
"""Groups in clusters begin with it; nobody else's may (`proxy.kube.impersonation.check_name`)."""

KUBERNETES: Final = frozenset(
    permission for permission in Permission if permission.value.startswith("kubernetes.")
)
"""What is more than reading and writing objects; each is needed besides a rule that matches."""

ORGANIZATION_ONLY: Final = frozenset(
    {
        Permission.LOOK_AT_SETTINGS,
        Permission.MANAGE_USERS,
        Permission.MANAGE_ROLES,
        Permission.LOOK_AT_AUTHORITY,
        Permission.ROTATE_AUTHORITY,
        Permission.LOOK_AT_SYSTEM_LOG,
        Permission.LOOK_AT_RETENTION,
        Permission.MANAGE_RETENTION,
    }
)
"""Permissions about what belongs to no project and no cluster: a narrower grant does not give them."""

EVERYBODY: Final = frozenset({Permission.LOOK_AT_SERVER})
"""What everybody who is known holds without a grant."""

_LOOKS_IN_SCOPE: Final = frozenset(
    {
        Permission.LOOK_AT_SERVER,
        Permission.LOOK_AT_CLUSTERS,
        Permission.LOOK_AT_USERS,
        Permission.LOOK_AT_PROJECTS,
        Permission.LOOK_AT_ROLES,
        Permission.LOOK_AT_GRANTS,
        Permission.LOOK_AT_CREDENTIALS,
        Permission.LOOK_AT_AUDIT,
        Permission.LOOK_AT_SESSIONS,
    }
)
_LOOKS: Final = _LOOKS_IN_SCOPE | {
    Permission.LOOK_AT_SETTINGS,
    Permission.LOOK_AT_AUTHORITY,
    Permission.LOOK_AT_SYSTEM_LOG,
    Permission.LOOK_AT_RETENTION,
}


def _role(
    name: str,
    description: str,
    scopes: tuple[ScopeKind, ...],
    clusters: ClusterAccess,
    permissions: frozenset[Permission],
) -> Role:
    return Role(
        name=name,
        description=description,
        scopes=scopes,
        permissions=permissions,
        clusters=clusters,
        built_in=True,
    )


_TABLE: Final = (
    _role(
        "admin",
        "Everything, everywhere.",
        (ScopeKind.ORGANIZATION,),
        ClusterAccess.FULL,
        frozenset(Permission),
    ),
    _role(
        "admin-read-only",
        "Looks at everything, in clusters too; exports and changes nothing.",
        (ScopeKind.ORGANIZATION,),
        ClusterAccess.READ,
        _LOOKS,
    ),
    _role(
        "auditor",
        "Sees and exports the logs in scope, recordings too, and who may do what there; reaches no cluster.",
        (ScopeKind.ORGANIZATION, ScopeKind.PROJECT),
        ClusterAccess.NONE,
        frozenset(
            {
                Permission.LOOK_AT_SERVER,
                Permission.LOOK_AT_CLUSTERS,
                Permission.LOOK_AT_USERS,
                Permission.LOOK_AT_PROJECTS,
                Permission.LOOK_AT_GRANTS,
                Permission.LOOK_AT_CREDENTIALS,
                Permission.LOOK_AT_AUDIT,
                Permission.EXPORT_AUDIT,
                Permission.LOOK_AT_SYSTEM_LOG,
                Permission.LOOK_AT_SESSIONS,
            }
        ),
    ),
    _role(
        "project-admin",
        "Everything in a project: its clusters, and who may do what in it.",
        (ScopeKind.PROJECT,),
        ClusterAccess.FULL,
        _LOOKS_IN_SCOPE
        | KUBERNETES
        | {
            Permission.MANAGE_CLUSTERS,
            Permission.MANAGE_PROJECTS,
            Permission.MANAGE_GRANTS,
            Permission.MANAGE_CREDENTIALS,
            Permission.EXPORT_AUDIT,
        },
    ),
    _role(
        "project-read-only",
        "Looks at a project and its clusters; exports and changes nothing.",
        (ScopeKind.PROJECT,),
        ClusterAccess.READ,
        _LOOKS_IN_SCOPE,
    ),
    _role(
        "cluster-admin",
        "Everything in a cluster, its settings and its logs.",
        (ScopeKind.PROJECT, ScopeKind.CLUSTER),
        ClusterAccess.FULL,
        KUBERNETES
        | {
            Permission.LOOK_AT_SERVER,
            Permission.LOOK_AT_CLUSTERS,
            Permission.MANAGE_CLUSTERS,
            Permission.LOOK_AT_AUDIT,
            Permission.LOOK_AT_SESSIONS,
        },
    ),
    _role(
        "namespace-admin",
        "Reads and writes in a namespace.",
        (ScopeKind.NAMESPACE,),
        ClusterAccess.FULL,
        KUBERNETES | EVERYBODY,
    ),
    _role(
        "namespace-read-only",
        "Reads in a namespace.",
        (ScopeKind.NAMESPACE,),
        ClusterAccess.READ,
        EVERYBODY,
    ),
)
BUILT_IN: Final[Mapping[str, Role]] = MappingProxyType({role.name: role for role in _TABLE})


def role_of(access: Access, name: str) -> Role | None:
    """The role of that name. One of our own cannot be replaced by a custom one."""
    return BUILT_IN.get(name) or access.roles.get(name)


def reaches_clusters(role: Role) -> bool:
    """Whether the role allows anything at all in clusters."""
    return role.clusters is not ClusterAccess.NONE or bool(role.rules)
