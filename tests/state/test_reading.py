"""What is read: no more than has changed, and all of that."""

import pytest

from proxy.clock import ManualClock
from proxy.state.repository import StateStore
from proxy.state.snapshot import EMPTY, Snapshot
from tests.state.people import WEB, credential, fill, give, token


async def test_a_renewed_credential_reads_nobody_again(
    registry: StateStore, clock: ManualClock
) -> None:
    await fill(registry)
    await registry.tokens.add(token("t1", clock.now()))
    before = await registry.snapshot()
    await registry.record_credential(credential("a1", clock.now()))
    after = await registry.snapshot(before)
    assert after.version > before.version
    assert after.access is before.access
    assert after.tokens is before.tokens


async def test_what_did_not_change_is_the_same_object(
    registry: StateStore, clock: ManualClock
) -> None:
    first = await fill(registry)
    before = await registry.snapshot()
    clock.advance(1)
    await give(registry, scope=WEB)
    after = await registry.snapshot(before)
    assert after.access.users["rob"] is before.access.users["rob"]
    assert after.access.grants[0] is before.access.grants[0]
    assert before.access.grants == (first,)
    assert len(after.access.grants) == 2


async def test_what_ended_is_left_out(registry: StateStore, clock: ManualClock) -> None:
    first = await fill(registry)
    await give(registry, scope=WEB, expires_at=clock.now() + 1)
    await registry.tokens.add(token("t1", clock.now(), life=1))
    before = await registry.snapshot()
    assert (len(before.access.grants), len(before.tokens)) == (2, 1)
    clock.advance(1)
    await registry.people.change_group("dev", description="x")
    for snapshot in (await registry.snapshot(), await registry.snapshot(before)):
        assert snapshot.access.grants == (first,)
        assert snapshot.tokens == {}


@pytest.mark.parametrize("previous", [None, EMPTY])
async def test_nothing_known_reads_all(
    registry: StateStore, clock: ManualClock, previous: Snapshot | None
) -> None:
    await fill(registry)
    assert await registry.snapshot(previous) == await registry.snapshot()


async def test_an_older_state_put_back_is_read_anew(registry: StateStore) -> None:
    empty = await registry.snapshot()
    await fill(registry)
    full = await registry.snapshot(empty)
    newer = type(full)(
        version=full.version + 100,
        credentials=full.credentials,
        clusters=full.clusters,
        access=full.access,
    )
    assert await registry.snapshot(newer) == full
