"""People and what is granted to them, for tests."""

from typing import Any

from proxy.state.access import (
    Grant,
    Place,
    Role,
    Rule,
    Scope,
    ScopeKind,
    SubjectKind,
    UserKind,
)
from proxy.state.permission import Permission
from proxy.state.repository import StateStore
from proxy.state.snapshot import Credential, Usage
from proxy.state.tokens import Token

PROD = Scope(ScopeKind.CLUSTER, cluster="prod")
WEB = Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="web")
SHOP = Scope(ScopeKind.PROJECT, project="shop")
DEPLOYER = Role(
    name="deployer",
    description="May deploy",
    scopes=(ScopeKind.CLUSTER, ScopeKind.NAMESPACE),
    permissions=frozenset({Permission.EXEC, Permission.LOOK_AT_CLUSTERS}),
    rules=(Rule(verbs=("*",), api_groups=("apps",), resources=("deployments",)),),
    denies=(Rule(verbs=("get",), paths=("/metrics",)),),
    kubernetes_groups=("deployers",),
    created_by="ann",
)


async def fill(store: StateStore) -> Grant:
    """Each thing there can be, once, where `prod` is registered; the grant is rob's."""
    await store.people.add_group("dev", description="Developers", by="ann")
    await store.people.add_user("rob", kind=UserKind.PERSON, groups=("dev",), by="ann")
    await store.people.add_project("shop", places=(Place("prod", ("web", "api")),), by="ann")
    await store.people.add_role(DEPLOYER)
    return await give(store)


async def give(
    store: StateStore,
    subject: str = "rob",
    role: str = "deployer",
    scope: Scope = PROD,
    **more: Any,  # what add_grant takes
) -> Grant:
    """A grant, to a user unless it says otherwise."""
    wanted = {"subject_kind": SubjectKind.USER, "reason": "work", "by": "ann"} | more
    return await store.people.add_grant(subject=subject, role=role, scope=scope, **wanted)


def token(identity: str, now: float, user: str = "rob", life: float = 60.0) -> Token:
    """A token that is not recorded yet."""
    return Token(
        id=identity,
        user=user,
        secret_sha256="ab" * 32,
        permissions=frozenset({Permission.LOOK_AT_AUDIT, Permission.EXPORT_AUDIT}),
        scope=WEB,
        created_at=now,
        created_by="ann",
        not_after=now + life,
        reason="nightly export",
    )


def credential(serial: str, now: float, user: str = "rob", life: float = 60.0) -> Credential:
    """A credential that is not recorded yet."""
    return Credential(serial, user, ("dev",), ("*",), Usage.KUBECTL, now, now + life, f"f-{serial}")
