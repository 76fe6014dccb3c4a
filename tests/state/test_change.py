import pytest

from proxy.errors import NotFoundError, PreconditionError
from proxy.state.access import UserKind
from proxy.state.change import check_expected
from proxy.state.repository import StateStore


@pytest.mark.parametrize("expected", [None, 7])
def test_what_was_seen_as_it_is_may_be_changed(expected: int | None) -> None:
    check_expected("User 'rob'", 7, expected)


@pytest.mark.parametrize("expected", [0, 6, 8])
def test_what_was_not_may_not(expected: int) -> None:
    with pytest.raises(PreconditionError, match=r"'rob' was .* at version 7 now"):
        check_expected("User 'rob'", 7, expected)


async def test_only_what_is_known_is_taken(registry: StateStore) -> None:
    people = registry.people
    await people.add_group("dev", by="admin")
    await people.add_user("rob", kind=UserKind.PERSON, groups=["dev"], by="admin")
    with pytest.raises(NotFoundError, match=r"There is no group one, two\.") as refused:
        await people.change_user("rob", groups=["two", "dev", "one"])
    assert "`kubewitness group list`" in refused.value.hint
    assert (await people.access()).users["rob"].groups == ("dev",)


async def test_what_is_as_it_was_is_not_written(registry: StateStore) -> None:
    made = await registry.people.add_group("dev", description="builds", by="admin")
    _, same = await registry.people.change_group("dev", description="builds")
    assert same == made
    before, after = await registry.people.change_group("dev", description="ships")
    assert (before, after.description) == (made, "ships")
    assert after.changed == await registry.version() > made.changed
