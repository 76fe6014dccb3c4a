"""An organization for the tests of access: made in a few words."""

from types import MappingProxyType

from proxy.authz.deciding import Request
from proxy.kube.request_info import classify, request_info
from proxy.state.access import (
    ORGANIZATION,
    Access,
    Grant,
    Group,
    Place,
    Project,
    Role,
    Rule,
    Scope,
    ScopeKind,
    SubjectKind,
    User,
    UserKind,
)
from proxy.state.permission import Permission

NOW = 1_800_000_000.0
ANYWHERE = tuple(ScopeKind)


def cluster(name: str) -> Scope:
    return Scope(ScopeKind.CLUSTER, cluster=name)


def namespace(where: str, name: str) -> Scope:
    return Scope(ScopeKind.NAMESPACE, cluster=where, namespace=name)


def project(name: str) -> Scope:
    return Scope(ScopeKind.PROJECT, project=name)


def user(name: str, *groups: str, disabled: bool = False) -> User:
    return User(
        name, UserKind.PERSON, groups, 0.0, "test", disabled_at=NOW - 1 if disabled else None
    )


def grant(
    subject: str,
    role: str,
    scope: Scope = ORGANIZATION,
    *,
    key: str = "",
    ends: float | None = None,
) -> Grant:
    """A grant to `subject`: a user, or with `@` in front a group."""
    kind = SubjectKind.GROUP if subject.startswith("@") else SubjectKind.USER
    name = subject.removeprefix("@")
    return Grant(key or f"{subject}-{role}", kind, name, role, scope, 0.0, "test", expires_at=ends)


def role(
    name: str,
    *rules: Rule,
    denies: tuple[Rule, ...] = (),
    permissions: frozenset[Permission] = frozenset(),
    groups: tuple[str, ...] = (),
) -> Role:
    return Role(
        name,
        "",
        ANYWHERE,
        permissions=permissions,
        rules=rules,
        denies=denies,
        kubernetes_groups=groups,
    )


def rule(verbs: str, resources: str, *, groups: str = "*", namespaces: str = "", names: str = "") -> Rule:  # fmt: skip
    """A rule for resources; lists are written with blanks."""
    return Rule(
        tuple(verbs.split()),
        api_groups=tuple(part.replace("core", "") for part in groups.split()),
        resources=tuple(resources.split()),
        namespaces=tuple(namespaces.split()),
        names=tuple(names.split()),
    )


def access(
    *grants: Grant,
    users: tuple[User, ...] = (),
    groups: tuple[str, ...] = (),
    projects: dict[str, tuple[Place, ...]] | None = None,
    roles: tuple[Role, ...] = (),
) -> Access:
    return Access(
        users=MappingProxyType({item.name: item for item in users}),
        groups=MappingProxyType({name: Group(name, 0.0, "test") for name in groups}),
        projects=MappingProxyType(
            {name: Project(name, places, 0.0, "test") for name, places in (projects or {}).items()}
        ),
        roles=MappingProxyType({item.name: item for item in roles}),
        grants=grants,
    )


def request(line: str, *, where: str = "prod", upgrade: bool = False, act: bool = False) -> Request:
    """A request as `GET /api/v1/pods`, as the gateway would describe it."""
    method, _, target = line.partition(" ")
    info = request_info(method, target)
    return Request(where, info, classify(method, info, upgrade), upgrade, act)
