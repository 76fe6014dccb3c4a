"""Registered users: added, changed, removed, and what is never given back by chance."""

import pytest

from proxy.clock import ManualClock
from proxy.errors import ConflictError
from proxy.state.access import SubjectKind, UserKind
from proxy.state.repository import StateStore
from tests.state.people import credential, fill, give, token


async def test_a_user_is_registered_once(registry: StateStore, clock: ManualClock) -> None:
    await registry.people.add_group("dev", by="ann")
    await registry.people.add_group("ops", by="ann")
    made = await registry.people.add_user(
        "rob@x.org",
        kind=UserKind.SERVICE,
        groups=["ops", "dev", "ops"],
        display_name="Rob",
        by="ann",
    )
    assert (made.kind, made.groups, made.display_name) == (UserKind.SERVICE, ("dev", "ops"), "Rob")
    assert (made.created_at, made.created_by, made.disabled_at) == (clock.now(), "ann", None)
    assert made.changed == await registry.version()
    assert (await registry.people.access()).users == {"rob@x.org": made}
    with pytest.raises(ConflictError, match=r"'rob@x.org' already.*enabled again"):
        await registry.people.add_user("rob@x.org", kind=UserKind.PERSON, by="ann")


async def test_only_what_is_given_changes(registry: StateStore, clock: ManualClock) -> None:
    await fill(registry)
    before, after = await registry.people.change_user("rob", display_name="Rob")
    assert (before.display_name, after.display_name, after.groups) == ("", "Rob", ("dev",))
    assert after.changed > before.changed
    before, after = await registry.people.change_user("rob", groups=())
    assert (before.groups, after.groups, after.display_name) == (("dev",), (), "Rob")
    assert (await registry.people.access()).users["rob"] == after


async def test_the_same_again_is_no_change(registry: StateStore, clock: ManualClock) -> None:
    await fill(registry)
    first = await registry.people.change_user("rob", disabled=True, reason="leave")
    clock.advance(1)
    again = await registry.people.change_user("rob", disabled=True, reason="x", groups=("dev",))
    assert again == (first[1], first[1])


async def test_disabled_and_enabled_again(registry: StateStore, clock: ManualClock) -> None:
    await fill(registry)
    await registry.record_credential(credential("a1", clock.now()))
    _, disabled = await registry.people.change_user("rob", disabled=True, reason="on leave")
    assert (disabled.disabled_at, disabled.disabled_reason) == (clock.now(), "on leave")
    for refused in (
        registry.record_credential(credential("a2", clock.now())),
        registry.tokens.add(token("t1", clock.now())),
        give(registry, "rob"),
    ):
        with pytest.raises(ConflictError, match=r"'rob' is disabled.*user enable rob"):
            await refused
    _, enabled = await registry.people.change_user("rob", disabled=False)
    assert (enabled.disabled_at, enabled.disabled_reason) == (None, "")
    await registry.record_credential(credential("a2", clock.now()))


async def test_removal_ends_all_they_had_and_nobody_elses(
    registry: StateStore, clock: ManualClock
) -> None:
    grant = await fill(registry)
    await registry.people.add_user("eve", kind=UserKind.PERSON, groups=("dev",), by="ann")
    others = [
        await give(registry, "eve"),
        await give(registry, "dev", "admin-read-only", subject_kind=SubjectKind.GROUP),
    ]
    for serial, user in (("a1", "rob"), ("a2", "rob"), ("b1", "eve")):
        await registry.record_credential(credential(serial, clock.now(), user))
    await registry.revoke(serial="a2", reason="lost")
    for identity, user in (("t1", "rob"), ("t2", "eve")):
        await registry.tokens.add(token(identity, clock.now(), user))
    clock.advance(1)
    before = await registry.version()
    removed = await registry.people.remove_user("rob", by="ann", reason="left")
    assert await registry.version() == before + 1, "one transaction"
    assert (removed.user.disabled_at, removed.user.disabled_reason) == (clock.now(), "left")
    assert removed.user.groups == ()
    assert [item.serial for item in removed.credentials] == ["a1"]
    assert [(item.id, item.revoked_by, item.revoked_reason) for item in removed.grants] == [
        (grant.id, "ann", "left")
    ]
    assert removed.tokens == ["t1"]
    snapshot = await registry.snapshot()
    assert snapshot.access.users["rob"] == removed.user
    assert list(snapshot.access.grants) == sorted(others, key=lambda item: item.id)
    assert list(snapshot.tokens) == ["t2"]
    assert snapshot.credentials["a1"].revoked_reason == "left"
    assert snapshot.credentials["a2"].revoked_reason == "lost"
    assert snapshot.credentials["b1"].revoked_at is None


async def test_removal_again_takes_what_came_since_and_keeps_when(
    registry: StateStore, clock: ManualClock
) -> None:
    await fill(registry)
    first = await registry.people.remove_user("rob", by="ann", reason="left")
    clock.advance(1)
    again = await registry.people.remove_user("rob", by="bob", reason="left for good")
    assert again.user == first.user
    assert (again.credentials, again.grants, again.tokens) == ([], [], [])


async def test_who_comes_back_has_nothing(registry: StateStore) -> None:
    await fill(registry)
    await registry.people.remove_user("rob", by="ann", reason="left")
    _, back = await registry.people.change_user("rob", disabled=False)
    assert back.groups == ()
    assert await registry.people.grants(user="rob") == []


async def test_an_unknown_user_still_gets_credentials(
    registry: StateStore, clock: ManualClock
) -> None:
    await registry.record_credential(credential("a1", clock.now(), "stranger"))
    assert [item.user for item in await registry.credentials()] == ["stranger"]
