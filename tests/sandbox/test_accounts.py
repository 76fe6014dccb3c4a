import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.sandbox import accounts
from proxy.sandbox.accounts import OWN_ACCOUNT, Account
from proxy.sandbox.failures import ApiError

BEARER = ("Authorization", "Bearer t")


def identify(*headers: tuple[str, str]) -> Account:
    return accounts.identify(CIMultiDictProxy(CIMultiDict([BEARER, *headers])), "t")


def test_impersonation_headers_make_an_account() -> None:
    who = identify(
        ("Impersonate-User", "alice"),
        ("Impersonate-Group", "dev"),
        ("impersonate-group", "a,b"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Extra-Example.com%2FKey", "one"),
        ("Impersonate-Extra-example.com%2fkey", "two"),
    )
    assert who == Account(
        "alice", ("dev", "a,b", "system:authenticated"), "7", {"example.com/key": ["one", "two"]}
    )


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("system:anonymous", ("system:unauthenticated",)),
        (
            "system:serviceaccount:shop:web",
            ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"),
        ),
    ],
)
def test_groups_that_come_by_themselves(user: str, groups: tuple[str, ...]) -> None:
    assert identify(("Impersonate-User", user)).groups == groups


def test_impersonating_nobody_is_refused() -> None:
    with pytest.raises(ApiError, match="without Impersonate-User"):
        identify(("Impersonate-Group", "system:masters"))


ALICE, VIEWER, OWN = Account("alice"), Account("bob", ("read-only",)), Account(OWN_ACCOUNT)


@pytest.mark.parametrize(
    ("who", "verb", "group", "resource", "allowed"),
    [
        (ALICE, "delete", "", "pods", True),
        (ALICE, "create", "", "pods/exec", True),
        (VIEWER, "list", "", "secrets", True),
        (VIEWER, "get", "", "pods/log", True),
        (VIEWER, "get", "", "pods/exec", False),
        (VIEWER, "patch", "apps", "deployments/scale", False),
        (VIEWER, "create", "authentication.k8s.io", "selfsubjectreviews", True),
        (OWN, "impersonate", "", "users", True),
        (OWN, "impersonate", "authentication.k8s.io", "userextras/kubewitness.io/serial", True),
        (OWN, "create", "authorization.k8s.io", "subjectaccessreviews", True),
        (OWN, "get", "", "pods", False),
        (OWN, "*", "*", "*", False),
    ],
)
def test_who_may_do_what(who: Account, verb: str, group: str, resource: str, allowed: bool) -> None:
    assert accounts.may(who, verb, group, resource) is allowed
