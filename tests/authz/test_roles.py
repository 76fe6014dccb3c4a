"""The built-in roles: the table, and what follows from it."""

import pytest

from proxy.authz.roles import BUILT_IN, KUBERNETES, ORGANIZATION_ONLY, role_of
from proxy.state.access import ClusterAccess, ScopeKind
from proxy.state.permission import Permission
from tests.authz.people import access, role

ORGANIZATION, PROJECT = ScopeKind.ORGANIZATION, ScopeKind.PROJECT
CLUSTER, NAMESPACE = ScopeKind.CLUSTER, ScopeKind.NAMESPACE
TABLE = {
    "admin": ((ORGANIZATION,), "full"),
    "admin-read-only": ((ORGANIZATION,), "read"),
    "auditor": ((ORGANIZATION, PROJECT), "none"),
    "project-admin": ((PROJECT,), "full"),
    "project-read-only": ((PROJECT,), "read"),
    "cluster-admin": ((PROJECT, CLUSTER), "full"),
    "namespace-admin": ((NAMESPACE,), "full"),
    "namespace-read-only": ((NAMESPACE,), "read"),
}
"""Roles, where they can be granted, what they may in clusters."""


def test_these_are_built_in_and_no_others() -> None:
    found = {name: (item.scopes, item.clusters.value) for name, item in BUILT_IN.items()}
    assert found == TABLE
    assert all(item.built_in and item.name == name for name, item in BUILT_IN.items())


@pytest.mark.parametrize("name", TABLE)
def test_whoever_may_do_everything_in_clusters_has_what_is_special_and_nobody_else(
    name: str,
) -> None:
    full = BUILT_IN[name].clusters is ClusterAccess.FULL
    assert (BUILT_IN[name].permissions & KUBERNETES == KUBERNETES) is full
    assert bool(BUILT_IN[name].permissions & KUBERNETES) is full


@pytest.mark.parametrize("name", ["admin-read-only", "project-read-only"])
def test_who_only_looks_changes_and_exports_nothing(name: str) -> None:
    words = {permission.value.split(".")[1] for permission in BUILT_IN[name].permissions}
    assert words <= {"look", "system"}


def test_who_looks_at_everything_looks_at_everything() -> None:
    looks = {item for item in Permission if item.value.endswith((".look", ".system"))}
    assert BUILT_IN["admin-read-only"].permissions == looks
    assert BUILT_IN["admin"].permissions == set(Permission)


def test_who_is_for_a_namespace_manages_and_sees_nothing_here() -> None:
    for name in ("namespace-admin", "namespace-read-only"):
        assert BUILT_IN[name].permissions - KUBERNETES == {Permission.LOOK_AT_SERVER}


def test_only_the_organizations_roles_touch_what_is_the_organizations() -> None:
    for item in BUILT_IN.values():
        if ORGANIZATION not in item.scopes:
            assert not item.permissions & ORGANIZATION_ONLY


def test_a_custom_role_cannot_replace_a_built_in_one() -> None:
    forged = role("namespace-read-only", permissions=frozenset(Permission))
    state = access(roles=(forged, role("deployer")))
    assert role_of(state, "namespace-read-only") is BUILT_IN["namespace-read-only"]
    assert role_of(state, "deployer") is state.roles["deployer"]
    assert role_of(state, "nobody") is None
