"""The RoleBindings that grants ask for, and what differs from them in a cluster."""

from types import MappingProxyType

import pytest

from proxy.authz.bindings import LABEL, OWNER, Binding, Drift, difference, look, wanted
from proxy.clock import SystemClock
from proxy.state.access import (
    NO_ACCESS,
    ORGANIZATION,
    Access,
    Grant,
    Place,
    Project,
    Scope,
    ScopeKind,
    SubjectKind,
)
from proxy.upstream.rolebindings import RoleBindings
from tests.upstream.fake_rbac import PATH, FakeRbac, serving

NOW = 1_000.0
NAMESPACES = frozenset({"web", "api", "default"})
WEB = Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="web")
SHOP = Scope(ScopeKind.PROJECT, project="shop")
PLACES = (Place("prod", ("api", "gone")), Place("test"))


def access(*grants: tuple[str, Scope], expires_at: float | None = None) -> Access:
    return Access(
        users=NO_ACCESS.users,
        groups=NO_ACCESS.groups,
        projects=MappingProxyType({"shop": Project("shop", PLACES, 0.0, "admin")}),
        roles=NO_ACCESS.roles,
        grants=tuple(
            Grant(str(number), SubjectKind.USER, "alice", role, scope, 0.0, "admin", expires_at=expires_at)
            for number, (role, scope) in enumerate(grants)
        ),
    )  # fmt: skip


ADMIN = Binding("web", "kubewitness-namespace-admin", "kubewitness:namespace-admin:web", "admin")
VIEW = Binding("web", "kubewitness-namespace-read-only", "kubewitness:namespace-read-only:web", "view")  # fmt: skip
PROJECT = Binding("api", "kubewitness-project-admin", "kubewitness:project-admin:api", "admin")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (access(("namespace-admin", WEB)), [ADMIN]),
        (access(("namespace-read-only", WEB), ("namespace-admin", WEB)), [ADMIN, VIEW]),
        (access(("namespace-admin", WEB), ("namespace-admin", WEB)), [ADMIN]),
        # Of a project only namespaces that exist; a whole cluster is no matter of RoleBindings.
        (access(("project-admin", SHOP)), [PROJECT]),
        (access(("auditor", SHOP)), []),
        (access(("admin", ORGANIZATION)), []),
        (access(("cluster-admin", Scope(ScopeKind.CLUSTER, cluster="prod"))), []),
        (access(("namespace-admin", Scope(ScopeKind.NAMESPACE, cluster="test", namespace="web"))), []),
        (access(("namespace-admin", Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="new"))), []),
        (access(("no-such-role", WEB)), []),
        (access(("namespace-admin", WEB), expires_at=NOW), []),
        (access(("namespace-admin", WEB), expires_at=NOW + 1), [ADMIN]),
    ],
)  # fmt: skip
def test_grants_in_namespaces_ask_for_rolebindings(given: Access, found: list[Binding]) -> None:
    assert list(wanted(given, "prod", NAMESPACES, NOW)) == found


def test_what_is_as_it_was_made_does_not_differ() -> None:
    items = [ADMIN.manifest(), VIEW.manifest()]
    # The server adds to what it was given.
    items[0]["metadata"]["uid"] = "1"
    items[0]["subjects"][0]["apiGroup"] = "rbac.authorization.k8s.io"
    drift = difference([ADMIN, VIEW], items)
    assert not drift
    assert len(drift) == 0


def test_each_difference_is_told() -> None:
    other = PROJECT.manifest() | {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}}  # fmt: skip
    stranger = ADMIN.manifest()
    stranger["metadata"] = {"namespace": "default", "name": "mine", "labels": {LABEL: OWNER}}
    drift = difference([ADMIN, PROJECT], [other, stranger])
    assert drift == Drift((ADMIN,), (PROJECT,), (("default", "mine"),))
    assert list(drift.sentences()) == [
        "web/kubewitness-namespace-admin is missing",
        "api/kubewitness-project-admin is not as it was made",
        "default/mine belongs to no grant",
    ]


@pytest.mark.parametrize(
    "subjects",
    [
        None,
        [],
        [
            {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Group",
                "name": "system:authenticated",
            }
        ],
        [*ADMIN.manifest()["subjects"], {"kind": "User", "name": "eve"}],
        [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ADMIN.group}],
    ],
)
def test_other_subjects_are_an_alteration(subjects: list[dict[str, str]] | None) -> None:
    assert difference([ADMIN], [ADMIN.manifest() | {"subjects": subjects}]).altered == (ADMIN,)


async def test_what_is_granted_while_the_cluster_answers_counts() -> None:
    fake = FakeRbac()

    def now() -> Access:
        assert {"GET /api/v1/namespaces", f"GET {PATH}/rolebindings"} <= set(fake.seen)
        return access(("namespace-admin", WEB))

    async with serving(fake) as pool:
        bindings = RoleBindings(pool, fake.target())
        drift = await look(bindings, "prod", now, SystemClock())
        assert drift == Drift((ADMIN,), (), ())
        await bindings.create(ADMIN.manifest())
        assert not await look(bindings, "prod", now, SystemClock())
