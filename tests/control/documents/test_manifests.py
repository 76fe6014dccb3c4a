"""Documents as people write them."""

from typing import Any

import msgspec
import pytest

from proxy.control.documents.manifests import Document, GrantSpec, UserDocument
from proxy.errors import InvalidInputError
from proxy.state.access import Scope, ScopeKind, SubjectKind
from tests.control.sample_documents import EVERYTHING, document


def test_each_kind_is_read() -> None:
    for given in EVERYTHING:
        assert msgspec.convert(given, type=Document)
    short = msgspec.convert(
        {"apiVersion": "kubewitness.io/v1", "kind": "User", "metadata": {"name": "x"}},
        type=Document,
    )
    assert isinstance(short, UserDocument)
    labelled = document("Group", "dev")
    labelled["metadata"] |= {"labels": {"team": "a"}, "annotations": {}}
    assert msgspec.convert(labelled, type=Document)


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "User", "metadata": {"name": "x"}},
        {**document("User", "x"), "apiVersion": "v1"},
        {**document("User", "x"), "status": {}},
        document("User"),
        document("Grant", "named", role="admin"),
        document("Cluster", "x"),
        document("Role", "x"),
        document("Project", "x", places=["prod"]),
        document("User", "x", groups="dev"),
    ],
    ids=str,
)
def test_what_is_no_document(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, type=Document)


@pytest.mark.parametrize(
    ("given", "scope"),
    [
        ({"organization": True}, Scope(ScopeKind.ORGANIZATION)),
        ({"project": "p"}, Scope(ScopeKind.PROJECT, project="p")),
        ({"cluster": "c"}, Scope(ScopeKind.CLUSTER, cluster="c")),
        (
            {"cluster": "c", "namespace": "n"},
            Scope(ScopeKind.NAMESPACE, cluster="c", namespace="n"),
        ),
    ],
)
def test_where_a_grant_holds(given: dict[str, Any], scope: Scope) -> None:
    assert GrantSpec("admin", user="rob", **given).scope() == scope


def test_to_whom_a_grant_is() -> None:
    assert GrantSpec("admin", user="rob").subject() == (SubjectKind.USER, "rob")
    assert GrantSpec("admin", group="dev").subject() == (SubjectKind.GROUP, "dev")
    for neither in (GrantSpec("admin"), GrantSpec("admin", user="rob", group="dev")):
        with pytest.raises(InvalidInputError, match="name one"):
            neither.subject()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"project": "p", "cluster": "c"},
        {"project": "p", "organization": True},
        {"cluster": "c", "organization": True},
        {"namespace": "n", "organization": True},
    ],
)
def test_nothing_is_wider_than_it_says(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="say which one"):
        GrantSpec("admin", user="rob", **given).scope()
