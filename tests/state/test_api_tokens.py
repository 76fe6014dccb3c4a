"""API tokens: recorded before they are shown, standing until they end or are revoked."""

import msgspec
import pytest

from proxy.clock import ManualClock
from proxy.errors import ConflictError, InvalidInputError, NotFoundError
from proxy.state.access import UserKind
from proxy.state.api_tokens import Tokens
from proxy.state.repository import StateStore
from tests.state.people import fill, token


@pytest.fixture
async def tokens(registry: StateStore) -> Tokens:
    await fill(registry)
    return registry.tokens


async def test_what_is_recorded_is_found(
    tokens: Tokens, registry: StateStore, clock: ManualClock
) -> None:
    before = await registry.snapshot()
    made = await tokens.add(token("t1", clock.now()))
    assert made == msgspec.structs.replace(token("t1", clock.now()), changed=made.changed)
    assert await tokens.find("t1") == made
    after = await registry.snapshot(before)
    assert after.tokens == {"t1": made}
    assert after == await registry.snapshot()


async def test_not_twice_and_not_for_nobody(tokens: Tokens, clock: ManualClock) -> None:
    await tokens.add(token("t1", clock.now()))
    with pytest.raises(ConflictError, match="t1 is recorded already"):
        await tokens.add(token("t1", clock.now()))
    with pytest.raises(NotFoundError, match="no user 'eve'"):
        await tokens.add(token("t2", clock.now(), "eve"))
    with pytest.raises(InvalidInputError, match="year at most"):
        await tokens.add(token("t2", clock.now(), life=0))


async def test_revoked_once(tokens: Tokens, registry: StateStore, clock: ManualClock) -> None:
    await tokens.add(token("t1", clock.now()))
    before = await registry.snapshot()
    ended = await tokens.revoke("t1", by="bob", reason="leaked")
    assert (ended.revoked_at, ended.revoked_by, ended.revoked_reason) == (
        clock.now(),
        "bob",
        "leaked",
    )
    assert await tokens.find("t1") == ended
    assert (await registry.snapshot(before)).tokens == {}
    with pytest.raises(ConflictError, match="revoked already, by 'bob'"):
        await tokens.revoke("t1", by="ann", reason="")
    with pytest.raises(NotFoundError, match="no token 'x'"):
        await tokens.revoke("x", by="ann", reason="")


async def test_a_list_is_narrowed_and_goes_on(
    tokens: Tokens, registry: StateStore, clock: ManualClock
) -> None:
    await registry.people.add_user("ci", kind=UserKind.SERVICE, by="ann")
    made = []
    for number, user in enumerate(["rob", "ci", "rob"]):
        made.append(await tokens.add(token(f"t{number}", clock.now(), user, 60 - 20 * number)))
        clock.advance(1)
    newest = made[::-1]
    assert await tokens.list() == newest
    assert await tokens.list(user="ci") == [made[1]]
    assert await tokens.list(after=(newest[0].created_at, newest[0].id), limit=1) == [newest[1]]
    clock.advance(20)
    assert await tokens.list() == newest[1:]
    assert await tokens.list(ended=True) == newest
    assert list((await registry.snapshot()).tokens) == ["t0", "t1"]
