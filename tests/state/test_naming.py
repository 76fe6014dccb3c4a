import pytest

from proxy.errors import InvalidInputError
from proxy.state.access import ORGANIZATION, Place, Rule, Scope, ScopeKind
from proxy.state.naming import (
    MAX_TEXT,
    check_label,
    check_rule,
    check_scope,
    check_subject,
    check_text,
    some,
    sorted_places,
)


@pytest.mark.parametrize("name", ["a", "a1", "a-b", "0", "a" * 63])
def test_labels(name: str) -> None:
    check_label("group", name)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a.b", "a" * 64, "a\n", "ä", "a b"])
def test_what_is_no_label(name: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a group name"):
        check_label("group", name)


@pytest.mark.parametrize("name", ["system:masters", "SYSTEM:x", " rob", "", "a" * 65, "r\u200bob"])
def test_users_no_credential_may_name(name: str) -> None:
    with pytest.raises(InvalidInputError, match="user"):
        check_subject("user", name)


def test_texts_end_somewhere() -> None:
    check_text("reason", "x" * MAX_TEXT)
    with pytest.raises(InvalidInputError, match="reason is 1001 characters"):
        check_text("reason", "x" * (MAX_TEXT + 1))


SOUND = [
    ORGANIZATION,
    Scope(ScopeKind.PROJECT, project="shop"),
    Scope(ScopeKind.CLUSTER, cluster="prod"),
    Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="web"),
]


@pytest.mark.parametrize("scope", SOUND, ids=str)
def test_scopes(scope: Scope) -> None:
    check_scope(scope)


@pytest.mark.parametrize(
    "scope",
    [
        Scope(ScopeKind.ORGANIZATION, cluster="prod"),
        Scope(ScopeKind.PROJECT),
        Scope(ScopeKind.PROJECT, project="shop", cluster="prod"),
        Scope(ScopeKind.CLUSTER, cluster="prod", namespace="web"),
        Scope(ScopeKind.NAMESPACE, cluster="prod"),
        Scope(ScopeKind.NAMESPACE, namespace="web"),
        Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="We b"),
    ],
    ids=str,
)
def test_what_is_no_scope(scope: Scope) -> None:
    with pytest.raises(InvalidInputError):
        check_scope(scope)


def test_places_are_sorted() -> None:
    given = [Place("b", ("z", "a", "z")), Place("a")]
    assert sorted_places(given) == (Place("a"), Place("b", ("a", "z")))


@pytest.mark.parametrize(
    "places", [[Place("a"), Place("a", ("x",))], [Place("A")], [Place("a", ("X",))]]
)
def test_what_are_no_places(places: list[Place]) -> None:
    with pytest.raises(InvalidInputError):
        sorted_places(places)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(verbs=("get",), api_groups=("",), resources=("pods",), namespaces=("*", "web")),
        Rule(verbs=("*",), api_groups=("*",), resources=("*",), names=("a",)),
        Rule(verbs=("get",), paths=("/metrics", "*")),
    ],
)
def test_rules(rule: Rule) -> None:
    check_rule(rule)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Rule(verbs=(), api_groups=("",), resources=("pods",)), "no verbs"),
        (Rule(verbs=("get",)), "neither paths"),
        (Rule(verbs=("get",), resources=("pods",)), "neither paths"),
        (Rule(verbs=("get",), api_groups=("",)), "neither paths"),
        (Rule(verbs=("get",), paths=("/x",), names=("a",)), "two rules|resources as well"),
        (Rule(verbs=("get",), paths=("x",)), "not a path"),
        (
            Rule(verbs=("get",), api_groups=("",), resources=("pods",), namespaces=("W",)),
            "not a namespace name",
        ),
    ],
)
def test_what_is_no_rule(rule: Rule, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        check_rule(rule)


def test_which_of_several_rules_is_none() -> None:
    with pytest.raises(InvalidInputError, match=r"^rules\[1\] has no verbs\."):
        check_rule(Rule(verbs=()), "rules[1]")


def test_some_of_many() -> None:
    assert some({"b", "a"}) == "a, b"
    assert some([str(number) for number in range(9)]) == "0, 1, 2, 3, 4, … (9 in all)"
