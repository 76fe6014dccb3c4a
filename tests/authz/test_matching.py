"""What a request needs, and which rules speak of it."""

import pytest

from proxy.authz.matching import matches, needed, touches
from proxy.state.access import Rule
from tests.authz.people import request, rule

POD = "/api/v1/namespaces/web/pods/a"


@pytest.mark.parametrize(
    ("line", "upgrade", "wanted"),
    [
        (f"GET {POD}", False, ()),
        (f"GET {POD}/log", False, ()),
        (f"GET {POD}/exec", True, ("exec",)),
        (f"POST {POD}/exec", False, ("exec",)),
        (f"GET {POD}/attach", True, ("attach",)),
        (f"POST {POD}/portforward", True, ("port-forward",)),
        (f"GET {POD}/proxy/", False, ("proxy",)),
        ("GET /api/v1/nodes/n/proxy/exec/a/b/c", True, ("proxy",)),
        ("GET /api/v1/proxy/nodes/n", False, ("proxy",)),
        (f"GET {POD}", True, ("exec",)),
        ("GET /healthz", True, ("exec",)),
        ("HEAD /api/v1/namespaces/web/secrets/a", False, ("secrets",)),
        ("GET /api/v1/secrets?watch=1", True, ("exec", "secrets")),
        ("DELETE /api/v1/namespaces/web/secrets/a", False, ()),
        ("POST /api/v1/namespaces/web/serviceaccounts/a/token", False, ("token",)),
    ],
)
def test_what_is_more_than_reading_and_writing_needs_a_permission(
    line: str, upgrade: bool, wanted: tuple[str, ...]
) -> None:
    found = needed(request(line, upgrade=upgrade))
    assert found == {f"kubernetes.{word}" for word in wanted}


def test_acting_as_somebody_else_needs_one_too() -> None:
    assert needed(request(f"GET {POD}", act=True)) == {"kubernetes.impersonate"}


@pytest.mark.parametrize(
    ("words", "line", "said"),
    [
        (("get", "pods"), f"GET {POD}", True),
        (("get", "pods"), f"HEAD {POD}", True),
        (("get", "pods"), f"GET {POD}/log", False),
        (("get", "pods/log"), f"GET {POD}/log", True),
        (("get", "pods/*"), f"GET {POD}/log", True),
        (("get", "pods/*"), f"GET {POD}", False),
        (("get", "*/log"), f"GET {POD}/log", True),
        (("get", "*"), f"GET {POD}/log", True),
        (("get", "pods/exec"), f"GET {POD}/exec", False),
        (("create", "pods/exec"), f"GET {POD}/exec", True),
        (("*", "*"), "GET /healthz", False),
    ],
)
def test_a_rule_says_verb_and_resource(words: tuple[str, str], line: str, said: bool) -> None:
    assert matches(rule(*words), request(line)) is said


def test_a_rule_may_name_groups_namespaces_names_and_paths() -> None:
    asked = request(f"GET {POD}")
    assert matches(rule("get", "pods", groups="core", namespaces="web", names="a b"), asked)
    assert not matches(rule("get", "pods", groups="apps"), asked)
    assert not matches(rule("get", "pods", namespaces="db"), asked)
    assert not matches(rule("get", "pods", names="b"), asked)
    assert not matches(rule("list", "pods", namespaces="web"), request("GET /api/v1/pods"))
    assert matches(Rule(("get",), paths=("/logs/*",)), request("GET /logs/x"))
    assert not matches(Rule(("get",), paths=("/logs",)), request("GET /logs/x"))


def test_a_denial_reaches_what_holds_the_denied_thing() -> None:
    one = rule("*", "secrets", names="key")
    here = frozenset({"web"})
    assert touches(one, request("GET /api/v1/namespaces/web/secrets/key"), here)
    assert touches(one, request("GET /api/v1/namespaces/web/secrets"), here)
    assert touches(one, request("GET /api/v1/secrets?watch=1"), here)
    assert not touches(one, request("GET /api/v1/namespaces/web/secrets/other"), here)
    assert not touches(one, request("GET /api/v1/namespaces/db/secrets"), here)
    assert not touches(rule("*", "*"), request("GET /api/v1/nodes"), here)
