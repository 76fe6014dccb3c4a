"""What `kubectl auth can-i --list` shows: the rules of the grants, and in words what they do not say."""

import itertools

import pytest

from proxy.authz.deciding import decide
from proxy.authz.listing import rules
from proxy.authz.standing import Caller
from proxy.kube.self_review import PathRule, ResourceRule, RulesStatus
from proxy.state.access import Access, Grant, Role, Rule
from proxy.state.permission import Permission
from tests.authz import people
from tests.authz.people import NOW, cluster, grant, namespace, role, rule

ALICE = Caller("alice", ())
QUESTIONS = {"selfsubjectaccessreviews", "selfsubjectreviews"}


def granted(*grants: Grant, roles: tuple[Role, ...] = ()) -> Access:
    return people.access(*grants, users=(people.user("alice"),), roles=roles)


def listed(access: Access, where: str = "web", **more: bool) -> RulesStatus:
    return rules(access, ALICE, "prod", where, NOW, **more)


def own(found: RulesStatus) -> list[ResourceRule]:
    """Without what everybody may ask."""
    return [item for item in found.resource_rules if not QUESTIONS & set(item.resources)]


def test_who_reads_a_namespace_sees_that_and_what_is_left_out() -> None:
    access = granted(grant("alice", "namespace-read-only", namespace("prod", "web")))
    found = listed(access)
    assert own(found) == [ResourceRule(("get", "list", "watch"), ("*",), ("*",))]
    assert [item.verbs for item in found.non_resource_rules] == [("get",)]
    assert found.incomplete
    assert found.evaluation_error == (
        "kubewitness: these are the rules of the grants; they give nothing that needs "
        "kubernetes.attach, kubernetes.exec, kubernetes.port-forward, kubernetes.proxy, "
        "kubernetes.secrets, kubernetes.token; the cluster's own rules apply besides"
    )
    elsewhere = listed(access, "db")
    assert own(elsewhere) == []
    assert len(elsewhere.resource_rules) == 2, "what everybody may ask"


def test_who_has_nothing_there_sees_nothing() -> None:
    found = listed(granted(grant("alice", "cluster-admin", cluster("other"))))
    assert (found.resource_rules, found.non_resource_rules) == ((), ())


def test_who_may_do_everything_sees_one_rule_and_no_exception() -> None:
    found = listed(granted(grant("alice", "admin"), grant("alice", "admin", key="again")))
    assert own(found) == [ResourceRule(("*",), ("*",), ("*",))]
    assert found.non_resource_rules[0] == PathRule(("*",), ("*",))
    assert found.evaluation_error == (
        "kubewitness: these are the rules of the grants; the cluster's own rules apply besides"
    )


def test_rules_of_custom_roles_are_as_they_were_written() -> None:
    mine = role(
        "deployer",
        rule("get patch", "deployments", groups="apps", names="shop"),
        rule("get", "pods", namespaces="web"),
        rule("get", "nodes", namespaces="db"),
        Rule(("get",), paths=("/metrics",)),
    )
    found = listed(granted(grant("alice", "deployer"), roles=(mine,)))
    assert own(found) == [
        ResourceRule(("get", "patch"), ("apps",), ("deployments",), ("shop",)),
        ResourceRule(("get",), ("*",), ("pods",)),
    ]
    assert found.non_resource_rules[0] == PathRule(("get",), ("/metrics",))
    narrow = granted(grant("alice", "deployer", namespace("prod", "web")), roles=(mine,))
    assert len(listed(narrow).non_resource_rules) == 1, "no paths within a namespace"


def test_what_is_denied_is_said_in_words() -> None:
    no = role("no-secrets", denies=(rule("*", "secrets"),))
    access = granted(grant("alice", "admin"), grant("alice", "no-secrets"), roles=(no,))
    assert "; no-secrets takes some of it away; " in listed(access).evaluation_error
    elsewhere = granted(
        grant("alice", "admin"),
        grant("alice", "no-secrets", namespace("prod", "db")),
        roles=(no,),
    )
    assert "no-secrets" not in listed(elsewhere).evaluation_error


def test_as_somebody_else_only_grants_that_allow_it_count() -> None:
    access = granted(grant("alice", "namespace-read-only", namespace("prod", "web")))
    assert own(listed(access, impersonates=True)) == []
    role_with = role("actor", rule("get", "pods"), permissions=frozenset({Permission.IMPERSONATE}))
    access = granted(grant("alice", "actor"), roles=(role_with,))
    assert len(own(listed(access, impersonates=True))) == 1


ROLES = (
    role("reader", rule("get list", "pods services")),
    role("named", rule("*", "configmaps", names="a"), rule("get", "*", namespaces="web")),
    role("no-pods", denies=(rule("*", "pods"),)),
)
GRANTS = (
    grant("alice", "reader", namespace("prod", "web")),
    grant("alice", "named", cluster("prod")),
    grant("alice", "no-pods", cluster("prod")),
    grant("alice", "namespace-read-only", namespace("prod", "db")),
    grant("alice", "namespace-admin", namespace("prod", "web")),
)
CALLS = [
    f"{method} /api/v1/namespaces/{where}/{what}"
    for method, where, what in itertools.product(
        ("GET", "DELETE", "PATCH"),
        ("web", "db"),
        ("pods", "pods/p", "configmaps/a", "configmaps/b", "secrets/s"),
    )
]


@pytest.mark.parametrize("some", [*itertools.combinations(GRANTS, 2), GRANTS])
def test_whatever_grants_allow_is_on_the_list(some: tuple[Grant, ...]) -> None:
    access = granted(*some, roles=ROLES)
    for line in CALLS:
        asked = people.request(line)
        if not decide(access, ALICE, asked, NOW).allowed:
            continue
        info = asked.info
        assert any(
            {"*", info.verb} & set(item.verbs)
            and {"*", info.resource} & set(item.resources)
            and (not item.resource_names or info.name in item.resource_names)
            for item in listed(access, info.namespace).resource_rules
        ), line
