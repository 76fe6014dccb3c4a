"""One table decides who may use a route at all; what is not in it is denied."""

import msgspec
import pytest

from proxy.authz.roles import BUILT_IN
from proxy.authz.standing import Caller
from proxy.control.entry import permissions
from proxy.control.entry.caller import Known
from proxy.control.entry.permissions import OWN, REQUIRED
from proxy.control.routes import ROUTES
from proxy.errors import DeniedError
from proxy.state.access import (
    NO_ACCESS,
    ORGANIZATION,
    Access,
    Grant,
    Scope,
    ScopeKind,
    SubjectKind,
    User,
    UserKind,
)
from proxy.state.permission import Permission
from proxy.state.snapshot import Usage
from proxy.state.tokens import Token

KEYS = {(route.method, route.full_path) for route in ROUTES}
NOW = 1_800_000_000.0
ALICE = Known(Caller("alice", ()))
SCOPES = {
    ScopeKind.ORGANIZATION: ORGANIZATION,
    ScopeKind.PROJECT: Scope(ScopeKind.PROJECT, project="shop"),
    ScopeKind.CLUSTER: Scope(ScopeKind.CLUSTER, cluster="prod"),
    ScopeKind.NAMESPACE: Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="web"),
}


def access(role: str) -> Access:
    """Alice has a built-in role, in a scope that it is for."""
    grant = Grant(
        "g", SubjectKind.USER, "alice", role, SCOPES[BUILT_IN[role].scopes[-1]], NOW, "admin"
    )
    alice = User("alice", UserKind.PERSON, (), NOW, "admin")
    return msgspec.structs.replace(NO_ACCESS, users={"alice": alice}, grants=(grant,))


def token(*given: Permission) -> Token:
    return Token("t", "alice", "", frozenset(given), None, NOW, "admin", NOW + 60)


def test_each_route_has_a_permission_and_each_entry_a_route() -> None:
    assert set(REQUIRED) == KEYS
    assert OWN <= KEYS


def test_a_route_without_an_entry_allows_nobody() -> None:
    for role in BUILT_IN:
        with pytest.raises(DeniedError, match="allows nobody"):
            permissions.check(ALICE, access(role), NOW, "GET", "/api/v1/forgotten")


@pytest.mark.parametrize("role", BUILT_IN)
@pytest.mark.parametrize(("method", "path"), sorted(REQUIRED))
def test_each_role_reaches_what_it_gives_and_what_is_everybodys(
    role: str, method: str, path: str
) -> None:
    needed = REQUIRED[method, path]
    given = {*BUILT_IN[role].permissions, Permission.LOOK_AT_SERVER, Permission.RENEW}
    if needed in given or (method, path) in OWN:
        permissions.check(ALICE, access(role), NOW, method, path)
    else:
        with pytest.raises(DeniedError, match="'alice' may not"):
            permissions.check(ALICE, access(role), NOW, method, path)


@pytest.mark.parametrize(("method", "path"), sorted(REQUIRED))
def test_a_token_reaches_no_more_than_it_is_for(method: str, path: str) -> None:
    needed = REQUIRED[method, path]
    known = Known(Caller("alice", ()), token=token(needed))
    permissions.check(known, access("admin"), NOW, method, path)
    if needed not in (Permission.LOOK_AT_SERVER, Permission.RENEW):
        known = Known(Caller("alice", ()), token=token(*(set(Permission) - {needed})))
        with pytest.raises(DeniedError, match=f"not for {needed}"):
            permissions.check(known, access("admin"), NOW, method, path)


def test_only_renewing_takes_another_kind_of_credential() -> None:
    renewing = {key for key in KEYS if permissions.usage_of(*key) is Usage.RENEW}
    assert renewing == {("POST", "/api/v1/credentials/renew")}
    assert {permissions.usage_of(*key) for key in KEYS - renewing} == {Usage.ADMIN}
