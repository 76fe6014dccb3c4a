"""Who exists and what was granted, as values."""

import pytest

from proxy.state.access import ORGANIZATION, Scope, ScopeKind


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        (ORGANIZATION, "organization"),
        (Scope(ScopeKind.PROJECT, project="shop"), "project/shop"),
        (Scope(ScopeKind.CLUSTER, cluster="prod"), "cluster/prod"),
        (Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="web"), "namespace/prod/web"),
    ],
    ids=str,
)
def test_a_scope_reads_as_people_write_it(scope: Scope, text: str) -> None:
    assert str(scope) == text
