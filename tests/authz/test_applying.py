"""What grants come to at one cluster."""

import math

from proxy.authz.applying import at_cluster
from proxy.authz.standing import Caller
from proxy.state.access import Place
from tests.authz.people import NOW, access, cluster, grant, namespace, project, role, rule, user

ROB = Caller("rob", ())


def test_grants_reach_a_cluster_whole_or_by_namespaces() -> None:
    state = access(
        grant("rob", "cluster-admin", cluster("prod")),
        grant("rob", "namespace-admin", namespace("prod", "web")),
        grant("rob", "project-read-only", project("shop")),
        grant("rob", "auditor"),
        users=(user("rob"),),
        projects={"shop": (Place("prod", ("db", "web")), Place("test"))},
    )
    here = at_cluster(state, ROB, "prod", NOW)
    assert [item.namespaces for item in here.applied] == [None, {"web"}, {"db", "web"}]
    assert [item.role.name for item in here.whole] == ["cluster-admin"]
    assert [item.role.name for item in here.inside["db"]] == ["cluster-admin", "project-read-only"]
    assert at_cluster(state, ROB, "test", NOW).groups == ("kubewitness:project-read-only",)
    assert at_cluster(state, ROB, "other", NOW).groups == ()


def test_what_was_worked_out_holds_until_a_grant_ends() -> None:
    state = access(grant("rob", "admin", ends=NOW + 5), users=(user("rob"),))
    here = at_cluster(state, ROB, "prod", NOW)
    assert (here.since, here.until) == (NOW, NOW + 5)
    assert at_cluster(state, ROB, "prod", NOW + 4) is here
    assert at_cluster(state, ROB, "prod", NOW + 5).applied == ()
    # A clock that was set back brings no grant back that had not ended, and loses none.
    assert at_cluster(state, ROB, "prod", NOW + 1).groups == ("kubewitness:admin",)
    assert at_cluster(access(users=(user("rob"),)), ROB, "prod", NOW).until == math.inf


def test_no_role_gives_a_group_that_is_not_its_own_to_give() -> None:
    forged = role("x:y", rule("get", "pods"), groups=("system:masters", "KubeWitness:admin", "ops"))
    state = access(grant("rob", "x:y"), users=(user("rob"),), roles=(forged,))
    assert at_cluster(state, ROB, "prod", NOW).groups == ("ops",)
