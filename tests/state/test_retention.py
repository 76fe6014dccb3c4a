"""Retention: who may let what go, and what holds it back."""

from collections.abc import AsyncIterator

import pytest

from proxy.clock import ManualClock
from proxy.errors import ConflictError, DeniedError, InvalidInputError, NotFoundError
from proxy.state.repository import StateStore
from proxy.state.retention import DAY, LegalHold, Retentions, holds_over
from proxy.state.sealing import SecretBox

MICROS = 1_000_000


@pytest.fixture
async def retentions(url: str, clock: ManualClock) -> AsyncIterator[Retentions]:
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=clock)
    yield store.retentions
    await store.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


async def test_it_takes_two_different_people(retentions: Retentions, clock: ManualClock) -> None:
    made = await retentions.propose(400, by="ann", reason="policy")
    assert made.before == (1_800_000_000 // DAY - 400) * DAY * MICROS
    assert not made.approved
    first = await retentions.approve(made.id, by="ann")
    clock.advance(1)
    with pytest.raises(ConflictError, match="'ann' has approved"):
        await retentions.approve(made.id, by="ann")
    assert not (await retentions.get(made.id)).approved
    second = await retentions.approve(made.id, by="bob")
    assert first.approved_by == ("ann",)
    assert second.approved
    assert await retentions.get(made.id) == second


async def test_who_approves_beside_others_has_seen_them(retentions: Retentions) -> None:
    made = await retentions.propose(400, by="ann", reason="policy")
    # Both looked when nobody had approved, and neither saw whether the other is somebody else.
    await retentions.approve(made.id, by="ann", beside=())
    with pytest.raises(ConflictError, match="Somebody else approved"):
        await retentions.approve(made.id, by="bob", beside=())
    assert (await retentions.get(made.id)).approved_by == ("ann",)
    assert (await retentions.approve(made.id, by="bob", beside=("ann",))).approved


@pytest.mark.parametrize(
    ("days", "reason", "says"),
    [(89, "policy", "90 days at least"), (-1, "policy", "90 days"), (400, " ", "Say why")],
)
async def test_what_cannot_be_proposed(
    retentions: Retentions, days: int, reason: str, says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        await retentions.propose(days, by="ann", reason=reason)
    assert await retentions.list() == ()


async def test_unknown_ones_are_named(retentions: Retentions) -> None:
    with pytest.raises(NotFoundError, match="no retention 'x'"):
        await retentions.approve("x", by="ann")
    with pytest.raises(NotFoundError, match="no legal hold 'x'"):
        await retentions.release_hold("x", by="ann", reason="over")


async def test_a_hold_is_released_by_somebody_else(retentions: Retentions) -> None:
    hold = await retentions.place_hold(since=10, until=20, by="ann", reason="case 7")
    with pytest.raises(DeniedError, match="somebody else"):
        await retentions.release_hold(hold.id, by="ann", reason="over")
    released = await retentions.release_hold(hold.id, by="bob", reason="over")
    assert (released.released_by, released.release_reason) == ("bob", "over")
    assert await retentions.holds() == (released,)
    with pytest.raises(ConflictError, match="released already"):
        await retentions.release_hold(hold.id, by="cem", reason="over")


@pytest.mark.parametrize(
    ("since", "until", "reason", "says"), [(5, 5, "x", "ends before"), (None, None, "", "Say why")]
)
async def test_what_is_no_hold(
    retentions: Retentions, since: int | None, until: int | None, reason: str, says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        await retentions.place_hold(since=since, until=until, by="ann", reason=reason)


@pytest.mark.parametrize(
    ("since", "until", "released", "covers"),
    [
        (None, None, "", True),
        (0, 10, "", False),
        (0, 11, "", True),
        (19, None, "", True),
        (20, None, "", False),
        (None, 10, "", False),
        (None, 11, "", True),
        (12, 13, "", True),
        (None, None, "bob", False),
    ],
)
def test_a_hold_covers_what_it_touches(
    since: int | None, until: int | None, released: str, covers: bool
) -> None:
    hold = LegalHold("h", since, until, "case", "ann", 0.0, released)
    assert bool(holds_over([hold], 10, 20)) is covers
