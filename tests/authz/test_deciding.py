"""Decisions about single calls; the oracle is about all others."""

import pytest

from proxy.authz.deciding import decide, kubernetes_groups
from proxy.authz.standing import Caller
from tests.authz.people import NOW, access, cluster, grant, namespace, request, role, rule, user

ROB = Caller("rob", ())
WEB = grant("rob", "namespace-read-only", namespace("prod", "web"))


@pytest.mark.parametrize(
    ("line", "allowed", "why"),
    [
        ("GET /api/v1/namespaces/web/pods", True, "grant rob-namespace-read-only of role namespace-read-only in namespace/prod/web"),
        ("GET /version", True, "grant rob-namespace-read-only of role namespace-read-only in namespace/prod/web"),
        ("GET /api/v1/namespaces/db/pods", False, "no grant of theirs reaches namespace db"),
        ("GET /api/v1/pods", False, "no grant of theirs reaches beyond its namespaces"),
        ("GET /metrics", False, "no grant of theirs reaches paths outside the API"),
        ("DELETE /api/v1/namespaces/web/pods/a", False, "namespace-read-only does not allow it"),
        ("GET /api/v1/namespaces/web/secrets", False, "it needs kubernetes.secrets, which namespace-read-only does not give"),
    ],
)  # fmt: skip
def test_a_decision_says_why(line: str, allowed: bool, why: str) -> None:
    decision = decide(access(WEB, users=(user("rob"),)), ROB, request(line), NOW)
    assert (decision.allowed, decision.why) == (allowed, why)
    assert decision.grant == (WEB.id if allowed else "")


def test_two_roles_do_not_allow_it() -> None:
    state = access(WEB, grant("rob", "project-read-only", cluster("prod")), users=(user("rob"),))
    decision = decide(state, ROB, request("DELETE /api/v1/namespaces/web/pods/a"), NOW)
    assert decision.why == "namespace-read-only and project-read-only do not allow it"


def test_what_denies_is_named() -> None:
    no = role("no", denies=(rule("*", "pods"),))
    both = (grant("rob", "admin"), grant("rob", "no", cluster("prod")))
    state = access(*both, users=(user("rob"),), roles=(no,))
    decision = decide(state, ROB, request("GET /api/v1/pods"), NOW)
    assert (decision.allowed, decision.grant) == (False, "rob-no")
    assert decide(state, ROB, request("GET /api/v1/pods", where="test"), NOW).allowed
    assert kubernetes_groups(state, ROB, "prod", NOW) == ("kubewitness:admin",)


def test_an_auditor_reaches_no_cluster() -> None:
    state = access(grant("rob", "auditor"), users=(user("rob"),))
    assert not decide(state, ROB, request("GET /version"), NOW).allowed
