"""Grants in a table of another make: what each condition takes, and what stands when."""

import pytest
from sqlalchemy import ColumnElement

from proxy.clock import ManualClock
from proxy.state import granted
from proxy.state.access import Grant, SubjectKind, UserKind
from proxy.state.repository import StateStore
from tests.state.people import WEB, fill, give


async def found(store: StateStore, *wanted: ColumnElement[bool]) -> list[Grant]:
    async with store._reading() as (connection, _):
        return await granted.find(connection, *wanted)


async def test_a_user_and_a_group_of_one_name_are_two(registry: StateStore) -> None:
    await fill(registry)
    await registry.people.add_user("dev", kind=UserKind.SERVICE, by="ann")
    mine = await give(registry, "dev")
    ours = await give(registry, "dev", subject_kind=SubjectKind.GROUP)
    assert await found(registry, granted.of_user("dev")) == [mine]
    assert await found(registry, granted.of_group("dev")) == [ours]


async def test_one_stands_until_it_ends(registry: StateStore, clock: ManualClock) -> None:
    first = await fill(registry)
    brief = await give(registry, scope=WEB, expires_at=clock.now() + 10)
    now = clock.now()
    for moment, expected in ((now, {first.id, brief.id}), (now + 9.9, {first.id, brief.id})):
        assert {item.id for item in await found(registry, granted.standing(moment))} == expected
    assert await found(registry, granted.standing(now + 10)) == [first]
    await registry.people.revoke_grant(first.id, by="ann", reason="")
    assert await found(registry, granted.standing(now)) == [brief]


@pytest.mark.parametrize("ended", [True, False])
async def test_what_is_not_asked_for_narrows_nothing(registry: StateStore, ended: bool) -> None:
    first = await fill(registry)
    wanted = granted.listed(now=first.created_at, ended=ended)
    assert await found(registry, *wanted) == [first]
    assert len(wanted) == (0 if ended else 1)
