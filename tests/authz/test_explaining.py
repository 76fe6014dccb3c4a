"""Why, in sentences."""

from proxy.authz.explaining import explain
from proxy.authz.standing import Caller
from tests.authz.people import NOW, access, cluster, grant, namespace, request, role, rule, user

ROB = Caller("rob", ())


def test_every_grant_says_something() -> None:
    grants = (
        grant("rob", "namespace-read-only", namespace("prod", "web"), key="reads"),
        grant("rob", "cluster-admin", cluster("test"), key="elsewhere"),
        grant("rob", "admin", key="over", ends=NOW - 1),
        grant("rob", "auditor", key="looks"),
        grant("rob", "gone", key="gone"),
        grant("rob", "namespace-admin", namespace("prod", "db"), key="narrow"),
    )
    state = access(*grants, users=(user("rob"),))
    found = explain(state, ROB, request("DELETE /api/v1/namespaces/web/pods/a"), NOW)
    assert not found.allowed
    assert found.why == "rob may not: namespace-read-only does not allow it"
    assert {item.grant.id: item.verdict for item in found.considered} == {
        "reads": "is of role namespace-read-only, which does not allow to delete this",
        "elsewhere": "is for cluster/test, not for cluster prod",
        "over": "is over since 2027-01-15T07:59:59.000000Z",
        "looks": "gives nothing in clusters",
        "gone": "is of role gone, which does not exist",
        "narrow": "reaches only what is in namespace db",
    }
    assert found.missing == (
        "a grant that reaches namespace web of cluster prod, of a role that allows to delete pods",
        "or a new grant in place of one that is over",
    )


def test_what_allows_and_what_denies() -> None:
    no = role("no", denies=(rule("*", "secrets"),))
    both = (grant("rob", "admin"), grant("rob", "no"))
    state = access(*both, users=(user("rob"),), roles=(no,))
    good = explain(state, ROB, request("GET /api/v1/pods"), NOW)
    assert (good.allowed, good.grant, good.missing) == (True, "rob-admin", ())
    bad = explain(state, ROB, request("GET /api/v1/secrets"), NOW)
    assert (bad.allowed, bad.grant) == (False, "rob-no")
    assert "rob-no is revoked" in bad.missing[0]


def test_a_permission_that_is_missing_is_named() -> None:
    state = access(grant("rob", "admin-read-only"), users=(user("rob"),))
    found = explain(state, ROB, request("GET /api/v1/secrets"), NOW)
    assert "in that role: kubernetes.secrets" in found.missing
    assert found.considered[0].verdict.startswith("lacks kubernetes.secrets")


def test_who_is_disabled_may_nothing() -> None:
    state = access(grant("rob", "admin"), users=(user("rob", disabled=True),))
    found = explain(state, ROB, request("GET /version"), NOW)
    assert (found.allowed, found.why) == (False, "rob is disabled")
