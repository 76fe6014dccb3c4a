"""Everything somebody logs in with, revoked at once: credentials of every usage, and API tokens."""

from collections.abc import AsyncIterator

import pytest

from proxy.clock import ManualClock
from proxy.state.access import UserKind
from proxy.state.permission import Permission
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import Credential, Usage
from proxy.state.tokens import Token


@pytest.fixture
async def store(url: str) -> AsyncIterator[StateStore]:
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=ManualClock())
    yield store
    await store.close()


async def give(store: StateStore, user: str, *, token: bool = True) -> None:
    """A credential of each usage, and an API token."""
    now = ManualClock().now()
    for usage in Usage:
        await store.record_credential(
            Credential(f"{user}-{usage}", user, (), ("*",), usage, now, now + 3600, usage.value)
        )
    if token:
        await store.people.add_user(user, kind=UserKind.SERVICE, by="ann")
        some = frozenset({Permission.LOOK_AT_AUDIT})
        await store.tokens.add(
            Token(f"token of {user}", user, "0" * 64, some, None, now, "ann", now + 3600)
        )


async def test_all_of_one_user_s_and_nothing_of_anybody_else_s(store: StateStore) -> None:
    await give(store, "rob")
    await give(store, "eve")
    before = await store.snapshot()
    ended = await store.people.revoke_access("rob", by="ann", reason="stolen")
    assert {item.serial for item in ended.credentials} == {f"rob-{usage}" for usage in Usage}
    assert ended.tokens == ["token of rob"]
    after = await store.snapshot(before)
    assert after.version == before.version + 1, "all of it in one change"
    ends = {item.serial: item.revoked_reason for item in after.credentials.values()}
    assert {serial for serial, reason in ends.items() if reason == "stolen"} == {
        f"rob-{usage}" for usage in Usage
    }
    standing = {token.id for token in after.tokens.values() if token.revoked_at is None}
    assert standing == {"token of eve"}
    assert after.access.users["rob"].disabled_at is None, "they can be given something new"


async def test_of_somebody_who_is_not_registered(store: StateStore) -> None:
    await give(store, "eve", token=False)
    ended = await store.people.revoke_access("eve", by="ann", reason="stolen")
    assert len(ended.credentials) == len(Usage)
    assert ended.tokens == []


async def test_a_second_time_there_is_nothing_left(store: StateStore) -> None:
    await give(store, "rob")
    await store.people.revoke_access("rob", by="ann", reason="stolen")
    again = await store.people.revoke_access("rob", by="bob", reason="again")
    assert (again.credentials, again.tokens) == ([], [])
    assert (await store.tokens.find("token of rob")).revoked_by == "ann"
    assert (await store.people.revoke_access("nobody", by="ann", reason="")).credentials == []
