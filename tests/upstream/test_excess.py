import msgspec
import pytest

from proxy.upstream.excess import (
    PathRule,
    ResourceRule,
    excess_of_paths,
    excess_of_rules,
    sentence,
)

AUTHN = "authentication.k8s.io"


def rule(verbs: str, resources: str, group: str = "", names: str = "") -> ResourceRule:
    return ResourceRule(
        tuple(verbs.split()), (group,), tuple(resources.split()), tuple(names.split())
    )


@pytest.mark.parametrize(
    "needed",
    [
        rule("impersonate", "users"),
        rule("impersonate", "users", names="alice"),
        rule("impersonate", "groups", names="dev ops"),
        rule("impersonate", "uids", AUTHN),
        rule("impersonate", "userextras/kubewitness.io/credential", AUTHN),
        rule("impersonate", "userextras/kubewitness.io/impersonator", AUTHN),
        rule("create", "selfsubjectaccessreviews selfsubjectrulesreviews", "authorization.k8s.io"),
        rule("create", "selfsubjectreviews", AUTHN),
        rule("get list watch", "clustertrustbundles", "certificates.k8s.io"),
    ],
)
def test_what_is_needed_is_no_excess(needed: ResourceRule) -> None:
    assert excess_of_rules([needed]) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (rule("*", "*", "*"), "do everything"),
        (rule("*", "*", "*", "one"), "do anything with every resource of every group named one"),
        (rule("get list", "secrets"), "get, list secrets"),
        (rule("create", "deployments", "apps"), "create deployments.apps"),
        (rule("get", "configmaps", names="a b"), "get configmaps named a, b"),
        (rule("*", "pods"), "do anything with pods"),
        (rule("get", "selfsubjectreviews", AUTHN), "get selfsubjectreviews.authentication.k8s.io"),
        (rule("get create", "clustertrustbundles", "certificates.k8s.io"), "get, create clustertrustbundles.certificates.k8s.io"),
        (rule("impersonate", "groups"), "impersonate any group, system:masters included"),
        (rule("impersonate", "groups", names="dev *"), "impersonate any group, system:masters included"),
        (rule("impersonate", "groups", names="dev system:masters"), "impersonate the group system:masters"),
        (rule("impersonate", "users groups"), "impersonate any group, system:masters included"),
        (rule("impersonate", "serviceaccounts"), "impersonate service accounts"),
        (rule("impersonate", "userextras/scopes", AUTHN), "impersonate with extra values of scopes"),
        (rule("impersonate", "userextras/*", AUTHN), "impersonate with extra values of *"),
    ],
)  # fmt: skip
def test_everything_else_is(given: ResourceRule, words: str) -> None:
    assert words in excess_of_rules([given])


def test_wild_impersonation_is_all_of_it() -> None:
    found = excess_of_rules([rule("impersonate", "*", "*")])
    assert found == [
        "impersonate any group, system:masters included",
        "impersonate service accounts",
    ]


def test_everything_says_it_all() -> None:
    assert excess_of_rules([rule("get", "pods"), rule("*", "*", "*")]) == ["do everything"]


def test_the_same_rule_twice_is_told_once() -> None:
    assert len(excess_of_rules([rule("get", "pods")] * 3)) == 1


@pytest.mark.parametrize(
    ("verbs", "paths", "expected"),
    [
        ("get", "/api /api/* /apis/* /healthz /livez/* /version /version/ /openapi/*", []),
        ("get", "/.well-known/openid-configuration/ /openid/v1/jwks", []),
        ("get", "/metrics", ["get /metrics"]),
        ("get", "/debug/*", ["get /debug/*"]),
        ("get post", "/api", ["get, post /api"]),
        ("get", "*", ["get any path"]),
        ("*", "*", ["do anything with any path"]),
        ("get", "/apisomething", ["get /apisomething"]),
    ],
)
def test_paths(verbs: str, paths: str, expected: list[str]) -> None:
    assert excess_of_paths([PathRule(tuple(verbs.split()), tuple(paths.split()))]) == expected


def test_rules_read_as_kubernetes_writes_them() -> None:
    text = b'{"verbs":["get"],"apiGroups":[""],"resources":["pods"],"resourceNames":["a"]}'
    assert msgspec.json.decode(text, type=ResourceRule) == rule("get", "pods", names="a")
    text = b'{"verbs":["get"],"nonResourceURLs":["/api"]}'
    assert msgspec.json.decode(text, type=PathRule) == PathRule(("get",), ("/api",))


def test_one_sentence() -> None:
    assert sentence([]) == ""
    assert sentence(["get pods"]).endswith("more than impersonate: get pods.")
    assert sentence([str(number) for number in range(20)]).endswith("; 7; and 12 more.")
