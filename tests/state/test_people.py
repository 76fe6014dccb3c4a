"""Who exists and what is granted, through the one way to change it, on both databases."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from proxy.clock import ManualClock
from proxy.errors import ConflictError, InvalidInputError, NotFoundError, PreconditionError
from proxy.state import granting, groups, users
from proxy.state.access import (
    NO_ACCESS,
    ORGANIZATION,
    Place,
    Role,
    Rule,
    Scope,
    ScopeKind,
    SubjectKind,
    UserKind,
)
from proxy.state.change import Change
from proxy.state.permission import Permission
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox

PROD = Scope(ScopeKind.CLUSTER, cluster="prod")
WEB = Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="web")
SHOP = Scope(ScopeKind.PROJECT, project="shop")
DEPLOYER = Role(
    name="deployer",
    description="May deploy",
    scopes=(ScopeKind.CLUSTER, ScopeKind.NAMESPACE),
    permissions=frozenset({Permission.EXEC, Permission.LOOK_AT_CLUSTERS}),
    rules=(Rule(verbs=("*",), api_groups=("apps",), resources=("deployments",)),),
    denies=(Rule(verbs=("get",), paths=("/metrics",)),),
    kubernetes_groups=("deployers",),
    created_by="ann",
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(url: str, clock: ManualClock) -> AsyncIterator[StateStore]:
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=clock)
    await store.add_cluster("prod", server="https://s", kubeconfig=b"k")
    yield store
    await store.close()


async def fill(store: StateStore) -> None:
    """Everything there can be, once."""
    await store.people.add_group("dev", description="Developers", by="ann")
    await store.people.add_user("rob", kind=UserKind.PERSON, groups=("dev",), by="ann")
    await store.people.add_project("shop", places=(Place("prod", ("web", "api")),), by="ann")
    await store.people.add_role(DEPLOYER)
    await give(store)


async def give(store: StateStore, subject="rob", role="deployer", scope=PROD, **more):  # type: ignore[no-untyped-def]
    wanted = {"subject_kind": SubjectKind.USER, "reason": "work", "by": "ann"} | more
    return await store.people.add_grant(subject=subject, role=role, scope=scope, **wanted)


async def test_at_first_there_is_nobody(store: StateStore) -> None:
    assert await store.people.access() == msgspec.structs.replace(NO_ACCESS, version=1)


async def test_what_is_made_is_found_as_it_was_given(store: StateStore) -> None:
    await fill(store)
    access = await store.people.access()
    assert access.users["rob"].groups == ("dev",)
    assert access.groups["dev"].description == "Developers"
    assert access.projects["shop"].places == (Place("prod", ("api", "web")),)
    (grant,) = access.grants
    assert (grant.subject, grant.role, grant.scope, grant.created_by) == (
        "rob",
        "deployer",
        PROD,
        "ann",
    )
    role = access.roles["deployer"]
    assert role == msgspec.structs.replace(
        DEPLOYER, created_at=role.created_at, changed=role.changed
    )
    assert access.version == await store.version()


async def test_the_snapshot_has_it_brought_up_to_date_and_anew(store: StateStore) -> None:
    before = await store.snapshot()
    await fill(store)
    after = await store.snapshot(before)
    assert before.access.users == {}
    assert after == await store.snapshot()
    assert after.access == await store.people.access()


async def test_apply_is_all_or_nothing(store: StateStore) -> None:
    def grant(change: Change):  # type: ignore[no-untyped-def]
        return granting.add(
            change,
            subject_kind=SubjectKind.GROUP,
            subject="dev",
            role="admin",
            scope=ORGANIZATION,
            by="ann",
        )

    steps = [
        lambda change: groups.add(change, "dev", by="ann"),
        lambda change: users.add(change, "rob", kind=UserKind.PERSON, groups=("dev",), by="ann"),
        grant,
    ]
    before = await store.people.access()
    planned = await store.people.apply(steps, version=before.version, dry_run=True)
    assert await store.people.access() == before
    with pytest.raises(ConflictError, match="'dev' already"):
        await store.people.apply([*steps, steps[0]], version=before.version)
    assert await store.people.access() == before
    made = await store.people.apply(steps, version=before.version)
    assert made == await store.people.access()
    assert (made.users, made.groups) == (planned.users, planned.groups)
    with pytest.raises(ConflictError, match=r"changed in between: it is at version"):
        await store.people.apply([], version=before.version)


async def test_what_was_not_seen_as_it_is_cannot_be_changed(store: StateStore) -> None:
    await fill(store)
    access, people = await store.people.access(), store.people
    seen = access.users["rob"].changed
    await people.change_user("rob", display_name="Rob", expected=seen)
    for change in (
        people.change_user("rob", disabled=True, expected=seen),
        people.remove_user("rob", by="ann", reason="", expected=seen),
        people.change_group("dev", description="x", expected=1),
        people.remove_group("dev", expected=1),
        people.change_project("shop", description="x", expected=1),
        people.remove_project("shop", expected=1),
        people.replace_role(DEPLOYER, expected=1),
        people.remove_role("deployer", expected=1),
    ):
        with pytest.raises(PreconditionError, match="changed in between"):
            await change


async def test_what_is_not_there_is_named(store: StateStore) -> None:
    people = store.people
    for change, name in (
        (people.change_user("x"), "user 'x'"),
        (people.remove_user("x", by="", reason=""), "user 'x'"),
        (people.remove_group("x"), "group 'x'"),
        (people.remove_project("x"), "project 'x'"),
        (people.remove_role("x"), "role 'x'"),
        (people.revoke_grant("x", by="", reason=""), "grant 'x'"),
        (people.grant("x"), "grant 'x'"),
        (people.add_user("rob", kind=UserKind.PERSON, groups=("x",), by=""), "group x"),
        (people.add_project("p", places=(Place("x"),), by=""), "cluster x"),
        (give(store, "x"), "user 'x'"),
        (give(store, "x", subject_kind=SubjectKind.GROUP), "group 'x'"),
    ):
        with pytest.raises(NotFoundError, match=f"There is no {name}"):
            await change


async def test_invalid_names(store: StateStore) -> None:
    people = store.people
    for change in (
        people.add_user("system:admin", kind=UserKind.PERSON, by=""),
        people.add_group("Dev", by=""),
        people.add_project("a_b", places=(), by=""),
        people.add_role(msgspec.structs.replace(DEPLOYER, name="-x")),
        people.add_role(msgspec.structs.replace(DEPLOYER, kubernetes_groups=("system:masters",))),
    ):
        with pytest.raises(InvalidInputError):
            await change
