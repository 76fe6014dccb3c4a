"""Scopes, ends and places as people write them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.cli import scoping
from proxy.cli.moments import parse
from proxy.errors import InvalidInputError

NOTHING: dict[str, Any] = {"organization": False, "project": "", "cluster": "", "namespace": ""}


@pytest.mark.parametrize(
    ("given", "scope", "words"),
    [
        ({"organization": True}, {"kind": "organization"}, "organization"),
        ({"project": "shop"}, {"kind": "project", "project": "shop"}, "project shop"),
        ({"cluster": "prod"}, {"kind": "cluster", "cluster": "prod"}, "cluster prod"),
        (
            {"cluster": "prod", "namespace": "web"},
            {"kind": "namespace", "cluster": "prod", "namespace": "web"},
            "namespace web of prod",
        ),
    ],
)
def test_scopes(given: dict[str, str], scope: dict[str, str], words: str) -> None:
    assert scoping.required_scope(**{**NOTHING, **given}) == scope
    assert scoping.words(scope) == words


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"namespace": "web"}, "needs a cluster"),
        ({"organization": True, "cluster": "prod"}, "two scopes"),
        ({"project": "shop", "cluster": "prod", "namespace": "web"}, "two scopes"),
        ({}, "Say where"),
    ],
)
def test_what_is_no_scope(given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        scoping.required_scope(**{**NOTHING, **given})


def test_nothing_is_a_scope_only_where_it_may_be() -> None:
    assert scoping.scope_of(**NOTHING) == {}


@pytest.mark.parametrize(("text", "seconds"), [("30d", 30 * 86400), ("8h", 8 * 3600), ("1h30m", 5400)])  # fmt: skip
def test_a_lifetime_counts_from_now(text: str, seconds: int) -> None:
    left = parse(scoping.end_of(text)) - datetime.now(UTC)
    assert abs(left.total_seconds() - seconds) < 5


def test_an_end_may_be_a_time_or_absent() -> None:
    assert scoping.end_of("2030-01-02T03:04:05Z").startswith("2030-01-02T03:04:05")
    assert scoping.end_of("") == ""
    with pytest.raises(InvalidInputError, match="--expires"):
        scoping.end_of("someday")


def test_places_and_back() -> None:
    places = scoping.places_of(["prod", "test:web,api"])
    assert places == [
        {"cluster": "prod", "namespaces": []},
        {"cluster": "test", "namespaces": ["web", "api"]},
    ]
    assert [scoping.place_words(place) for place in places] == ["prod", "test:web,api"]


@pytest.mark.parametrize("text", ["", ":web", "test:", "test:web,,api", "test:web,"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(InvalidInputError, match="not a place"):
        scoping.place_of(text)


def test_a_cluster_is_named_once() -> None:
    with pytest.raises(InvalidInputError, match="'test' is named twice"):
        scoping.places_of(["test:web", "test:api"])
