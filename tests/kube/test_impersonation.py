"""Identity headers: built exactly, understood completely, or refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.kube.impersonation import (
    Headers,
    Identity,
    InvalidIdentity,
    InvalidImpersonation,
    access_reviews,
    check_name,
    headers,
    never,
    requested,
)

text = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
keys = st.text("abz09/-._", min_size=1, max_size=20)
identities = st.builds(
    Identity,
    text,
    st.lists(text, max_size=4).map(tuple),
    st.just("") | text,
    st.dictionaries(keys, st.lists(text, min_size=1, max_size=3).map(tuple), max_size=3).map(
        lambda extra: tuple(extra.items())
    ),
)
USER = (b"Impersonate-User", b"bob")


def test_headers_of_an_identity() -> None:
    identity = Identity(
        "jürgen", ("a,b", "c"), "7", (("authentication.kubernetes.io/credential-id", ("x", "y")),)
    )
    extra = b"Impersonate-Extra-authentication.kubernetes.io%2Fcredential-id"
    assert headers(identity) == [
        (b"Impersonate-User", "jürgen".encode()),
        (b"Impersonate-Group", b"a,b"),
        (b"Impersonate-Group", b"c"),
        (b"Impersonate-Uid", b"7"),
        (extra, b"x"),
        (extra, b"y"),
    ]


@given(identities)
def test_what_is_built_is_what_is_understood(identity: Identity) -> None:
    assert requested(headers(identity)) == identity
    assert requested([(name.upper(), value) for name, value in headers(identity)]) == identity


def test_callers_cannot_change_what_the_next_call_gets() -> None:
    identity = Identity("alice", ())
    headers(identity).clear()
    assert headers(identity) == [(b"Impersonate-User", b"alice")]


BAD_VALUES = ["", " admin", "admin ", "\tadmin", "a\r\nX: y", "a\nb", "a\x00b", "a\x7fb", "\udcff"]


@pytest.mark.parametrize("bad", BAD_VALUES)
@pytest.mark.parametrize(
    "build",
    [
        lambda bad: Identity(bad, ()),
        lambda bad: Identity("a", ("dev", bad)),
        lambda bad: Identity("a", (), bad or " "),
        lambda bad: Identity("a", (), "", (("k", (bad,)),)),
        lambda bad: Identity("a", (), "", ((bad, ("v",)),)),
    ],
    ids=["user", "group", "uid", "extra", "key"],
)
def test_values_that_headers_cannot_carry_are_refused(
    build: Callable[[str], Identity], bad: str
) -> None:
    with pytest.raises(InvalidIdentity):
        headers(build(bad))


def test_nothing_requested() -> None:
    assert requested([]) is None
    assert requested([(b"Accept", b"*/*"), (b"X-Impersonate-User", b"bob")]) is None


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ([(b"impersonate-user", b"eve")], "more than once"),
        ([(b"IMPERSONATE-USER", b"bob")], "more than once"),
        ([(b"Impersonate-Uid", b"1"), (b"impersonate-uid", b"1")], "more than once"),
    ],
)
def test_lesson_08_duplicates_of_single_headers_are_refused(extra: Headers, message: str) -> None:
    with pytest.raises(InvalidImpersonation, match=message):
        requested([USER, *extra])


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ([(b"Impersonate-Group", b"dev")], "without Impersonate-User"),
        ([(b"Impersonate-Uid", b"1")], "without Impersonate-User"),
        ([(b"Impersonate-Extra-a", b"1")], "without Impersonate-User"),
        ([(b"Impersonate-User", b"")], "empty"),
        ([(b"Impersonate-User", b""), (b"Impersonate-Group", b"dev")], "empty"),
        ([USER, (b"Impersonate-Group", b" ")], "empty"),
        ([USER, (b"Impersonate-Group", b"\xff")], "UTF-8"),
        ([(b"Impersonate-User", b"a\rb")], "control"),
    ],
)
def test_lesson_27_incomplete_requests_are_refused(head: Headers, message: str) -> None:
    with pytest.raises(InvalidImpersonation, match=message):
        requested(head)


@pytest.mark.parametrize(
    ("group_headers", "groups"),
    [
        ([], ()),
        ([b"dev"], ("dev",)),
        ([b"dev", b"dev", b"a,b"], ("dev", "dev", "a,b")),
        ([b"system:unauthenticated"], ("system:unauthenticated",)),
    ],
)
def test_lesson_27_groups_are_taken_exactly(group_headers: list[bytes], groups: object) -> None:
    identity = requested([USER, *[(b"Impersonate-Group", value) for value in group_headers]])
    assert identity is not None
    assert identity.groups == groups
    assert [value for name, value in headers(identity)[1:]] == group_headers


@pytest.mark.parametrize(
    "name",
    [
        b"Impersonate",
        b"Impersonate-",
        b"Impersonate-Users",
        b"Impersonate-New-Thing",
        b"Impersonated-User",
    ],
)
def test_lesson_05_unknown_suffixes_are_refused(name: bytes) -> None:
    with pytest.raises(InvalidImpersonation, match="not known"):
        requested([USER, (name, b"x")])


@pytest.mark.parametrize(
    "name", [b"Impersonate_User", b"impersonate_group", b"Impersonate-Extra_a", b"IMPERSONATE_UID"]
)
def test_lesson_07_underscores_are_refused(name: bytes) -> None:
    with pytest.raises(InvalidImpersonation, match="not known"):
        requested([(name, b"x")])


@pytest.mark.parametrize(
    ("suffix", "key"),
    [
        (b"Scopes", "scopes"),
        (
            b"Authentication.kubernetes.io%2fcredential-Id",
            "authentication.kubernetes.io/credential-id",
        ),
        (b"a_b", "a_b"),
        (b"a%5Fb", "a_b"),
    ],
)
def test_lesson_09_extra_keys_are_lower_case(suffix: bytes, key: str) -> None:
    identity = requested([USER, (b"Impersonate-Extra-" + suffix, b"v")])
    assert identity == Identity("bob", (), "", ((key, ("v",)),))


@pytest.mark.parametrize(
    "suffix", [b"", b"%61uditor", b"%41uditor", b"a%", b"a%zz", b"a%25", b"a b", b"a%3ab", b"%ff"]
)
def test_lesson_09_extra_keys_with_two_readings_are_refused(suffix: bytes) -> None:
    with pytest.raises(InvalidImpersonation):
        requested([USER, (b"Impersonate-Extra-" + suffix, b"v")])


@pytest.mark.parametrize("key", ["kubewitness.io", "kubewitness.io/x", "a.kubewitness.io/x"])
def test_lesson_09_our_own_keys_cannot_be_requested(key: str) -> None:
    assert "only the proxy" in (never(Identity("bob", (), "", ((key, ("v",)),))) or "")
    assert never(Identity("bob", (), "", (("not" + key, ("v",)),))) is None or key.startswith("a.")


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (Identity("bob", ("dev", "system:masters")), "system:masters"),
        (Identity("system:apiserver", ()), "system:apiserver"),
        (Identity("bob", ("kubewitness:admin",)), "kubewitness:admin"),
        (Identity("bob", ("dev", "KubeWitness:namespace-admin:web")), "only the proxy"),
        (Identity("bob", ("kubewitness\N{FULLWIDTH COLON}admin",)), "only the proxy"),
        (Identity("kubewitness:admin", ()), "kubewitness:admin"),
    ],
)
def test_lesson_26_identities_above_the_law_can_never_be_requested(
    identity: Identity, reason: str
) -> None:
    assert reason in (never(identity) or "")


@pytest.mark.parametrize(
    "identity",
    [
        Identity("bob", ("dev",)),
        Identity("system:serviceaccount:shop:ci", ()),
        Identity("system:anonymous", ("system:unauthenticated",)),
        Identity("system:node:n1", ("system:nodes",)),
    ],
)
def test_other_identities_are_for_the_access_review(identity: Identity) -> None:
    assert never(identity) is None


def test_one_review_for_each_part_of_the_identity() -> None:
    actor = Identity("alice", ("dev",), "1", (("scopes", ("a",)),))
    wanted = Identity("bob", ("ops", "qa"), "2", (("scopes", ("x", "y")),))
    specs = access_reviews(actor, wanted)
    assert all(
        {key: spec[key] for key in spec if key != "resourceAttributes"}
        == {
            "user": "alice",
            "groups": ["dev", "system:authenticated"],
            "uid": "1",
            "extra": {"scopes": ["a"]},
        }
        for spec in specs
    )
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    asked = [tuple(spec["resourceAttributes"].get(field, "") for field in fields) for spec in specs]
    assert asked == [
        ("impersonate", "", "users", "", "", "bob"),
        ("impersonate", "", "groups", "", "", "ops"),
        ("impersonate", "", "groups", "", "", "qa"),
        ("impersonate", "authentication.k8s.io", "uids", "", "", "2"),
        ("impersonate", "authentication.k8s.io", "userextras", "scopes", "", "x"),
        ("impersonate", "authentication.k8s.io", "userextras", "scopes", "", "y"),
    ]


@pytest.mark.parametrize(
    ("user", "resource", "namespace", "name"),
    [
        ("system:serviceaccount:shop:ci", "serviceaccounts", "shop", "ci"),
        ("system:serviceaccount:shop:a.b", "serviceaccounts", "shop", "a.b"),
        ("system:serviceaccount:shop", "users", None, "system:serviceaccount:shop"),
        ("system:serviceaccount:a:b:c", "users", None, "system:serviceaccount:a:b:c"),
        ("system:serviceaccount:Shop:ci", "users", None, "system:serviceaccount:Shop:ci"),
        ("system:serviceaccount::ci", "users", None, "system:serviceaccount::ci"),
    ],
)
def test_service_accounts_are_reviewed_in_their_namespace(
    user: str, resource: str, namespace: str | None, name: str
) -> None:
    (spec,) = access_reviews(Identity("alice", ()), Identity(user, ()))
    attributes = spec["resourceAttributes"]
    assert (attributes["resource"], attributes.get("namespace"), attributes["name"]) == (
        resource,
        namespace,
        name,
    )


@pytest.mark.parametrize(
    ("user", "groups", "completed"),
    [
        ("alice", (), ["system:authenticated"]),
        ("alice", ("system:authenticated",), ["system:authenticated"]),
        ("alice", ("system:unauthenticated",), ["system:unauthenticated"]),
        ("system:anonymous", (), []),
    ],
)
def test_the_actor_is_reviewed_with_the_groups_it_really_has(
    user: str, groups: tuple[str, ...], completed: list[str]
) -> None:
    (spec,) = access_reviews(Identity(user, groups), Identity("bob", ()))
    assert spec["groups"] == completed


@pytest.mark.parametrize("kind", ["user", "group"])
@pytest.mark.parametrize(
    "name", ["alice", "alice@example.com", "jürgen", "oidc:dev", "Dev Team", "systems", "x" * 64]
)
def test_names_that_may_be_issued(kind: str, name: str) -> None:
    check_name(kind, name)


@pytest.mark.parametrize("kind", ["user", "group"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "empty"),
        (" alice", "blank"),
        ("alice ", "blank"),
        ("alice\N{NO-BREAK SPACE}", "blank"),
        ("a\nb", "control"),
        ("a\x00b", "control"),
        ("a\N{ZERO WIDTH SPACE}b", "invisible"),
        ("a\N{RIGHT-TO-LEFT OVERRIDE}b", "invisible"),
        ("x" * 254, "long"),
        ("\udcff", "UTF-8"),
        ("system:masters", "reserved"),
        ("system:", "reserved"),
        ("System:Masters", "reserved"),
        ("system\N{FULLWIDTH COLON}masters", "reserved"),
        ("kubewitness:admin", "reserved"),
        ("kubewitness:", "reserved"),
        ("KubeWitness:Admin", "reserved"),
        ("\N{FULLWIDTH LATIN SMALL LETTER K}ubewitness\N{FULLWIDTH COLON}admin", "reserved"),
    ],
)
def test_lesson_26_names_that_are_never_issued(kind: str, name: str, message: str) -> None:
    with pytest.raises(InvalidIdentity, match=message):
        check_name(kind, name)


def test_a_user_is_no_longer_than_a_common_name() -> None:
    check_name("group", "é" * 126)
    with pytest.raises(InvalidIdentity, match=re.escape("66 bytes")):
        check_name("user", "é" * 33)
