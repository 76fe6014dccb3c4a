"""What a caller may do is what their grants give, and no more than the token they used."""

from types import MappingProxyType

import msgspec
import pytest

from proxy.authz.roles import BUILT_IN
from proxy.authz.standing import Caller
from proxy.control.entry.caller import Known
from proxy.errors import DeniedError
from proxy.state.access import (
    NO_ACCESS,
    ORGANIZATION,
    Access,
    Grant,
    Place,
    Project,
    Scope,
    ScopeKind,
    SubjectKind,
    User,
    UserKind,
)
from proxy.state.permission import Permission
from proxy.state.snapshot import EMPTY
from proxy.state.tokens import Token

NOW = 1_800_000_000.0
SHOP = Scope(ScopeKind.PROJECT, project="shop")
PROD = Scope(ScopeKind.CLUSTER, cluster="prod")
TEST = Scope(ScopeKind.CLUSTER, cluster="test")
WEB = Scope(ScopeKind.NAMESPACE, cluster="test", namespace="web")
ALICE = Caller("alice", ())
LOOK = Permission.LOOK_AT_AUDIT


def access(role: str, scope: Scope) -> Access:
    shop = Project("shop", (Place("prod"), Place("test", ("web",))), NOW, "admin")
    return msgspec.structs.replace(
        NO_ACCESS,
        users=MappingProxyType({"alice": User("alice", UserKind.PERSON, (), NOW, "admin")}),
        projects=MappingProxyType({"shop": shop}),
        grants=(Grant("g", SubjectKind.USER, "alice", role, scope, NOW, "admin"),),
    )


def token(scope: Scope | None = None, *given: Permission) -> Token:
    permissions = frozenset(given or Permission)
    return Token("t", "alice", "", permissions, scope, NOW, "admin", NOW + 60)


ADMIN = access("admin", ORGANIZATION)
OF_SHOP = access("project-admin", SHOP)


def test_without_a_token_grants_say_it_all() -> None:
    known = Known(ALICE)
    assert known.scopes(OF_SHOP, LOOK, NOW) == (SHOP,)
    assert known.holds(OF_SHOP, LOOK, NOW, PROD)
    assert not known.holds(OF_SHOP, LOOK, NOW, TEST)
    assert known.holds(OF_SHOP, LOOK, NOW, WEB)
    assert not known.holds(OF_SHOP, LOOK, NOW, ORGANIZATION)
    assert known.holds(NO_ACCESS, Permission.LOOK_AT_SERVER, NOW)


def test_a_token_takes_away_permissions() -> None:
    known = Known(ALICE, token=token(None, Permission.LOOK_AT_CLUSTERS))
    assert known.holds(ADMIN, Permission.LOOK_AT_CLUSTERS, NOW, ORGANIZATION)
    assert not known.holds(ADMIN, LOOK, NOW)
    assert known.scopes(ADMIN, LOOK, NOW) == ()
    assert known.holds(ADMIN, Permission.LOOK_AT_SERVER, NOW)


@pytest.mark.parametrize(
    ("given", "scope", "expected"),
    [
        (ADMIN, PROD, (PROD,)),
        (OF_SHOP, PROD, (PROD,)),
        (OF_SHOP, WEB, (WEB,)),
        (OF_SHOP, TEST, ()),
        (OF_SHOP, ORGANIZATION, (SHOP,)),
        (OF_SHOP, SHOP, (SHOP,)),
        (access("cluster-admin", PROD), SHOP, (PROD,)),
        (access("cluster-admin", PROD), WEB, ()),
    ],
)  # fmt: skip
def test_a_token_takes_away_places(
    given: Access, scope: Scope, expected: tuple[Scope, ...]
) -> None:
    known = Known(ALICE, token=token(scope))
    assert known.scopes(given, LOOK, NOW) == expected
    for place in (PROD, TEST, WEB, SHOP, ORGANIZATION):
        if known.holds(given, LOOK, NOW, place):
            assert Known(ALICE).holds(given, LOOK, NOW, place)


def test_what_may_be_seen_of_the_log_is_where_the_permission_is_held() -> None:
    within = Known(ALICE).within(OF_SHOP, LOOK, NOW)
    assert (within.user, within.clusters, within.namespaces) == (
        "alice",
        ("prod",),
        (("test", "web"),),
    )
    assert (within.calls, within.system) == (False, False)
    everything = Known(ALICE).within(ADMIN, LOOK, NOW)
    assert (everything.calls, everything.system) == (True, True)
    narrowed = Known(ALICE, token=token(PROD)).within(ADMIN, LOOK, NOW)
    assert (narrowed.clusters, narrowed.calls, narrowed.system) == (("prod",), False, False)


def test_a_token_gives_away_no_more_than_it_is_for() -> None:
    role = BUILT_IN["auditor"]
    Known(ALICE, token=token()).check_grantable(ADMIN, role, ORGANIZATION, NOW)
    lacking = Known(ALICE, token=token(None, *(set(Permission) - {Permission.EXPORT_AUDIT})))
    with pytest.raises(DeniedError, match=r"lacks audit\.export"):
        lacking.check_grantable(ADMIN, role, ORGANIZATION, NOW)
    with pytest.raises(DeniedError, match="for cluster/prod only"):
        Known(ALICE, token=token(PROD)).check_everything(ADMIN, role, ORGANIZATION, NOW)
    with pytest.raises(DeniedError, match="projects go beyond"):
        Known(ALICE, token=token(PROD)).check_places(ADMIN, "shop", (), NOW)


def test_what_stands() -> None:
    snapshot = msgspec.structs.replace(EMPTY, access=ADMIN, tokens={"t": token()})
    known = Known(ALICE, token=token())
    assert known.stands(snapshot, NOW)
    assert not known.stands(snapshot, NOW + 61)
    assert not known.stands(msgspec.structs.replace(snapshot, tokens={}), NOW)
    off = msgspec.structs.replace(ADMIN.users["alice"], disabled_at=NOW)
    gone = msgspec.structs.replace(ADMIN, users={"alice": off})
    assert not known.stands(msgspec.structs.replace(snapshot, access=gone), NOW)
