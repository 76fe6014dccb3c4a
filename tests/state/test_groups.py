import pytest

from proxy.errors import ConflictError
from proxy.state.access import ORGANIZATION, SubjectKind, UserKind
from proxy.state.repository import StateStore
from tests.state.people import fill, give


async def test_described_anew(registry: StateStore) -> None:
    made = await registry.people.add_group("dev", by="ann")
    before, after = await registry.people.change_group("dev", description="Developers")
    assert (before, after.description) == (made, "Developers")
    assert await registry.people.change_group("dev", description="Developers") == (after, after)
    assert (await registry.people.access()).groups == {"dev": after}


async def test_one_of_a_name(registry: StateStore) -> None:
    await registry.people.add_group("dev", by="ann")
    with pytest.raises(ConflictError, match="group 'dev' already"):
        await registry.people.add_group("dev", by="bob")


async def test_who_was_in_it_is_in_it_no_more(registry: StateStore) -> None:
    await fill(registry)
    await registry.people.add_group("devs", by="ann")
    await registry.people.add_user("eve", kind=UserKind.PERSON, groups=("dev", "devs"), by="ann")
    await registry.people.add_user("bob", kind=UserKind.PERSON, groups=("devs",), by="ann")
    before = await registry.snapshot()
    await registry.people.remove_group("dev")
    after = await registry.snapshot(before)
    users = after.access.users
    assert [(name, users[name].groups) for name in users] == [
        ("bob", ("devs",)),
        ("eve", ("devs",)),
        ("rob", ()),
    ]
    assert users["eve"].changed > before.access.users["eve"].changed
    assert users["bob"] is before.access.users["bob"]
    assert after == await registry.snapshot()


async def test_one_that_something_is_granted_to_stays(registry: StateStore) -> None:
    await fill(registry)
    given = await give(registry, "dev", "admin", ORGANIZATION, subject_kind=SubjectKind.GROUP)
    with pytest.raises(
        ConflictError, match=r"Group 'dev' is in use: .* group dev\..*grant list --group dev"
    ):
        await registry.people.remove_group("dev")
    await registry.people.revoke_grant(given.id, by="ann", reason="")
    removed = await registry.people.remove_group("dev")
    assert removed.description == "Developers"
    assert (await registry.people.access()).groups == {}
