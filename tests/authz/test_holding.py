"""What somebody may do here, and that nobody can give more than they hold."""

import pytest

from proxy.audit.index.query import Within
from proxy.authz.holding import (
    check_grantable,
    check_places,
    covers,
    holds,
    places,
    require,
    scopes,
    within,
)
from proxy.authz.roles import BUILT_IN
from proxy.authz.standing import Caller
from proxy.errors import DeniedError, InvalidInputError
from proxy.state.access import ORGANIZATION, Access, Grant, Place, Role, Scope
from proxy.state.permission import Permission
from tests.authz.people import (
    NOW,
    access,
    cluster,
    grant,
    namespace,
    project,
    role,
    rule,
    user,
)

ROB = Caller("rob", ())
SHOP: dict[str, tuple[Place, ...]] = {"shop": (Place("prod"), Place("test", ("db", "web")))}


def state(*grants: Grant, roles: tuple[Role, ...] = ()) -> Access:
    return access(*grants, users=(user("rob"),), projects=SHOP, roles=roles)


@pytest.mark.parametrize(
    ("outer", "inner", "covered"),
    [
        (ORGANIZATION, project("shop"), True),
        (ORGANIZATION, ORGANIZATION, True),
        (project("shop"), ORGANIZATION, False),
        (project("shop"), project("shop"), True),
        (project("shop"), project("other"), False),
        (project("shop"), cluster("prod"), True),
        (project("shop"), cluster("test"), False),
        (project("shop"), namespace("prod", "any"), True),
        (project("shop"), namespace("test", "web"), True),
        (project("shop"), namespace("test", "kube-system"), False),
        (project("gone"), namespace("test", "web"), False),
        (cluster("prod"), project("shop"), False),
        (cluster("prod"), cluster("prod"), True),
        (cluster("prod"), namespace("prod", "web"), True),
        (cluster("prod"), namespace("test", "web"), False),
        (namespace("prod", "web"), cluster("prod"), False),
        (namespace("prod", "web"), namespace("prod", "web"), True),
        (namespace("prod", "web"), namespace("prod", "db"), False),
    ],
    ids=str,
)
def test_a_scope_covers_what_lies_in_it(outer: Scope, inner: Scope, covered: bool) -> None:
    assert covers(state(), outer, inner) is covered


def test_the_places_of_a_scope() -> None:
    given = state()
    assert places(given, project("shop")) == SHOP["shop"]
    assert places(given, cluster("prod")) == (Place("prod"),)
    assert places(given, namespace("test", "web")) == (Place("test", ("web",)),)
    assert places(given, ORGANIZATION) == ()
    assert places(given, project("none")) == ()


def test_a_permission_is_held_where_its_grant_reaches() -> None:
    here = state(grant("rob", "cluster-admin", project("shop"), ends=NOW + 1))
    assert scopes(here, ROB, Permission.MANAGE_CLUSTERS, NOW) == (project("shop"),)
    assert holds(here, ROB, Permission.MANAGE_CLUSTERS, NOW)
    assert holds(here, ROB, Permission.MANAGE_CLUSTERS, NOW, cluster("prod"))
    assert not holds(here, ROB, Permission.MANAGE_CLUSTERS, NOW, cluster("test"))
    assert not holds(here, ROB, Permission.MANAGE_CLUSTERS, NOW + 1)
    assert not holds(here, ROB, Permission.MANAGE_GRANTS, NOW)


def test_everybody_who_is_known_may_ask_what_this_is() -> None:
    assert holds(state(), ROB, Permission.LOOK_AT_SERVER, NOW, ORGANIZATION)


def test_what_is_the_organizations_is_not_given_by_less() -> None:
    people = role("people", permissions=frozenset({Permission.MANAGE_USERS}))
    for scope in (project("shop"), cluster("prod"), namespace("prod", "web")):
        here = state(grant("rob", "people", scope), roles=(people,))
        assert not holds(here, ROB, Permission.MANAGE_USERS, NOW)
    assert holds(state(grant("rob", "people"), roles=(people,)), ROB, Permission.MANAGE_USERS, NOW)
    auditor = state(grant("rob", "auditor", project("shop")))
    assert not holds(auditor, ROB, Permission.LOOK_AT_SYSTEM_LOG, NOW)
    assert holds(auditor, ROB, Permission.EXPORT_AUDIT, NOW)


def test_a_denial_says_what_is_missing() -> None:
    with pytest.raises(DeniedError, match=r"'rob' .* needs the permission user.manage in organiz"):
        require(state(), ROB, Permission.MANAGE_USERS, NOW, ORGANIZATION)
    require(state(grant("rob", "admin")), ROB, Permission.MANAGE_USERS, NOW, ORGANIZATION)


def test_whose_records_somebody_sees() -> None:
    assert within(state(), ROB, NOW) == Within("rob")
    assert within(state(grant("rob", "admin")), ROB, NOW) == Within("rob", calls=True, system=True)
    here = state(
        grant("rob", "auditor", project("shop")), grant("rob", "cluster-admin", cluster("a"))
    )
    assert within(here, ROB, NOW) == Within(
        "rob", clusters=("a", "prod"), namespaces=(("test", "db"), ("test", "web"))
    )
    assert within(state(grant("rob", "namespace-admin", namespace("a", "b"))), ROB, NOW) == Within(
        "rob"
    )


SECRETS = role("secrets", rule("get", "secrets"), permissions=frozenset({Permission.READ_SECRETS}))
PODS = role("pods", rule("get", "pods"))
MIXED = role(
    "mixed",
    rule("get", "pods"),
    permissions=frozenset({Permission.MANAGE_GRANTS}),
)
OPS = role("ops", groups=("ops",))
NO_SECRETS = role("no-secrets", denies=(rule("*", "secrets"),))
USERS = role("users", permissions=frozenset({Permission.MANAGE_USERS, Permission.MANAGE_GRANTS}))
CUSTOM = (SECRETS, PODS, MIXED, OPS, NO_SECRETS, USERS)
ROLES = {**BUILT_IN, **{item.name: item for item in CUSTOM}}

MAY = {
    "all by an admin": ("admin", ORGANIZATION, "admin", ORGANIZATION),
    "their own project": ("project-admin", project("shop"), "project-admin", project("shop")),
    "its auditor": ("project-admin", project("shop"), "auditor", project("shop")),
    "a whole cluster of it": ("project-admin", project("shop"), "cluster-admin", cluster("prod")),
    "a namespace of it": ("project-admin", project("shop"), "namespace-admin", namespace("test", "web")),
    "rules below everything": ("project-admin", project("shop"), "secrets", namespace("test", "web")),
    "the same rules": ("mixed", cluster("prod"), "pods", namespace("prod", "web")),
    "groups, with all of a cluster": ("admin", ORGANIZATION, "ops", cluster("prod")),
}  # fmt: skip
MAY_NOT = {
    "who holds no grant.manage": ("cluster-admin", cluster("prod"), "namespace-admin", namespace("prod", "web")),
    "what looks only": ("admin-read-only", ORGANIZATION, "namespace-read-only", namespace("prod", "web")),
    "another project": ("project-admin", project("shop"), "project-admin", project("other")),
    "the whole of a cluster they have a part of": ("project-admin", project("shop"), "cluster-admin", cluster("test")),
    "another namespace": ("project-admin", project("shop"), "namespace-read-only", namespace("test", "kube-system")),
    "the organization": ("project-admin", project("shop"), "admin", ORGANIZATION),
    "an auditor of all": ("project-admin", project("shop"), "auditor", ORGANIZATION),
    "other rules": ("mixed", cluster("prod"), "secrets", cluster("prod")),
    "reading everything, with one rule": ("mixed", namespace("prod", "web"), "namespace-read-only", namespace("prod", "web")),
    "groups, with a part of a cluster": ("project-admin", project("shop"), "ops", namespace("test", "web")),
    "clusters, by who manages people": ("users", ORGANIZATION, "namespace-read-only", namespace("prod", "web")),
}  # fmt: skip


@pytest.mark.parametrize("case", MAY)
def test_they_may_grant(case: str) -> None:
    held, where, wanted, scope = MAY[case]
    check_grantable(state(grant("rob", held, where), roles=CUSTOM), ROB, ROLES[wanted], scope, NOW)


@pytest.mark.parametrize("case", MAY_NOT)
def test_nobody_gives_more_than_they_hold(case: str) -> None:
    held, where, wanted, scope = MAY_NOT[case]
    here = state(grant("rob", held, where), roles=CUSTOM)
    with pytest.raises(DeniedError, match="'rob' may not"):
        check_grantable(here, ROB, ROLES[wanted], scope, NOW)


def test_two_halves_are_not_a_whole() -> None:
    here = state(
        grant("rob", "mixed", cluster("prod")),
        grant("rob", "cluster-admin", cluster("other")),
        roles=CUSTOM,
    )
    with pytest.raises(DeniedError):
        check_grantable(here, ROB, ROLES["cluster-admin"], cluster("prod"), NOW)


def test_who_is_denied_something_cannot_give_it_to_somebody_else() -> None:
    admin = grant("rob", "admin")
    for scope in (ORGANIZATION, cluster("prod"), namespace("prod", "web")):
        here = state(admin, grant("rob", "no-secrets", scope), roles=CUSTOM)
        with pytest.raises(DeniedError, match="denies"):
            check_grantable(here, ROB, ROLES["cluster-admin"], cluster("prod"), NOW)
    elsewhere = state(admin, grant("rob", "no-secrets", namespace("test", "web")), roles=CUSTOM)
    check_grantable(elsewhere, ROB, ROLES["cluster-admin"], cluster("prod"), NOW)


def test_a_role_is_granted_where_it_belongs() -> None:
    with pytest.raises(InvalidInputError, match="cannot be granted in cluster/prod"):
        check_grantable(state(grant("rob", "admin")), ROB, ROLES["admin"], cluster("prod"), NOW)


def test_a_project_gains_only_what_its_members_could_be_granted() -> None:
    member = grant("@dev", "project-read-only", project("shop"))
    whole, part = Place("other"), Place("test", ("new",))
    check_places(state(grant("rob", "admin"), member), ROB, "shop", (whole, part), NOW)
    for held, where in (("project-admin", project("shop")), ("cluster-admin", cluster("other"))):
        for place in (whole, part):
            with pytest.raises(DeniedError):
                check_places(state(grant("rob", held, where), member), ROB, "shop", (place,), NOW)
    check_places(state(grant("rob", "project-admin", project("shop"))), ROB, "shop", (), NOW)
