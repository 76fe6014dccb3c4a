"""Who exists and what is granted, through the one way to change it, on both databases."""

from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from proxy.clock import ManualClock
from proxy.errors import ConflictError, InvalidInputError, NotFoundError, PreconditionError
from proxy.state import granting, groups, users
from proxy.state.access import NO_ACCESS, ORGANIZATION, Grant, Place, SubjectKind, UserKind
from proxy.state.change import Change
from proxy.state.repository import StateStore
from tests.state.people import DEPLOYER, PROD, SHOP, WEB, fill, give


async def test_at_first_there_is_nobody(registry: StateStore) -> None:
    assert await registry.people.access() == msgspec.structs.replace(NO_ACCESS, version=1)


async def test_what_is_made_is_found_as_it_was_given(registry: StateStore) -> None:
    await fill(registry)
    access = await registry.people.access()
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
    assert access.version == await registry.version()


async def test_the_snapshot_has_it_brought_up_to_date_and_anew(registry: StateStore) -> None:
    before = await registry.snapshot()
    await fill(registry)
    after = await registry.snapshot(before)
    assert before.access.users == {}
    assert after == await registry.snapshot()
    assert after.access == await registry.people.access()


async def test_apply_is_all_or_nothing(registry: StateStore) -> None:
    def grant(change: Change) -> Awaitable[Grant]:
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
    before = await registry.people.access()
    planned = await registry.people.apply(steps, version=before.version, dry_run=True)
    assert await registry.people.access() == before
    with pytest.raises(ConflictError, match="'dev' already"):
        await registry.people.apply([*steps, steps[0]], version=before.version)
    assert await registry.people.access() == before
    made = await registry.people.apply(steps, version=before.version)
    assert made == await registry.people.access()
    assert (made.users, made.groups) == (planned.users, planned.groups)
    with pytest.raises(ConflictError, match=r"changed in between: it is at version"):
        await registry.people.apply([], version=before.version)


async def test_what_was_not_seen_as_it_is_cannot_be_changed(registry: StateStore) -> None:
    await fill(registry)
    access, people = await registry.people.access(), registry.people
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
        with pytest.raises(PreconditionError, match=r"in between: it is at version \d+ now\."):
            await change


async def test_what_is_not_there_is_named(registry: StateStore) -> None:
    people = registry.people
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
        (give(registry, "x"), "user 'x'"),
        (give(registry, "x", subject_kind=SubjectKind.GROUP), "group 'x'"),
    ):
        with pytest.raises(NotFoundError, match=f"There is no {name}"):
            await change


async def test_invalid_names(registry: StateStore) -> None:
    people = registry.people
    for change in (
        people.add_user("system:admin", kind=UserKind.PERSON, by=""),
        people.add_group("Dev", by=""),
        people.add_project("a_b", places=(), by=""),
        people.add_role(msgspec.structs.replace(DEPLOYER, name="-x")),
        people.add_role(msgspec.structs.replace(DEPLOYER, kubernetes_groups=("system:masters",))),
    ):
        with pytest.raises(InvalidInputError):
            await change


async def test_a_list_of_grants_is_narrowed_and_goes_on(
    registry: StateStore, clock: ManualClock
) -> None:
    first = await fill(registry)
    clock.advance(1)
    team = await give(registry, "dev", "admin", ORGANIZATION, subject_kind=SubjectKind.GROUP)
    shop = await give(registry, role="project-admin", scope=SHOP)
    brief = await give(registry, role="admin", scope=WEB, expires_at=clock.now() + 5)
    grants = registry.people.grants

    async def listed(**wanted: Any) -> list[Grant]:
        return await grants(**wanted)

    def newest(*found: Grant) -> list[Grant]:
        return sorted(found, key=lambda item: (item.created_at, item.id), reverse=True)

    assert await listed() == newest(first, team, shop, brief)
    assert await listed(user="rob") == newest(first, shop, brief)
    assert await listed(group="dev") == [team]
    assert await listed(user="dev") == await listed(group="rob") == []
    assert await listed(role="deployer") == [first]
    assert await listed(cluster="prod") == newest(first, brief)
    assert await listed(project="shop") == [shop]
    clock.advance(5)
    assert await listed() == newest(first, team, shop)
    ended = await registry.people.revoke_grant(first.id, by="ann", reason="done")
    assert await listed() == newest(team, shop)
    everything = await listed(ended=True)
    assert everything == newest(ended, team, shop, brief)
    pages, after = [], None
    while page := await listed(ended=True, after=after, limit=1):
        pages += page
        after = (page[-1].created_at, page[-1].id)
    assert pages == everything
    assert await registry.people.grant(first.id) == ended
