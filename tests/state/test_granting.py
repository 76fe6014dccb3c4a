import pytest

from proxy.clock import ManualClock
from proxy.errors import ConflictError, InvalidInputError, NotFoundError
from proxy.state.access import ORGANIZATION, Scope, ScopeKind, SubjectKind
from proxy.state.repository import StateStore
from tests.state.people import PROD, SHOP, WEB, fill, give


@pytest.mark.parametrize("scope", [ORGANIZATION, SHOP, PROD, WEB], ids=str)
async def test_given_anywhere_there_is(
    registry: StateStore, clock: ManualClock, scope: Scope
) -> None:
    await fill(registry)
    made = await give(registry, role="auditor", scope=scope, expires_at=clock.now() + 60)
    assert (made.scope, made.created_at, made.changed) == (
        scope,
        clock.now(),
        await registry.version(),
    )
    assert await registry.people.grant(made.id) == made
    assert made in (await registry.people.access()).grants


async def test_not_what_or_where_there_is_nothing(registry: StateStore, clock: ManualClock) -> None:
    await fill(registry)
    for wrong, error, says in (
        ({"role": "none"}, NotFoundError, "no role 'none'"),
        ({"scope": ORGANIZATION}, InvalidInputError, "'deployer' cannot be .* 'organization'"),
        ({"scope": Scope(ScopeKind.CLUSTER, cluster="x")}, NotFoundError, "no cluster 'x'"),
        (
            {"role": "admin", "scope": Scope(ScopeKind.PROJECT, project="x")},
            NotFoundError,
            "no project 'x'",
        ),
        ({"scope": Scope(ScopeKind.CLUSTER)}, InvalidInputError, "'' is not a cluster name"),
        ({"expires_at": clock.now()}, InvalidInputError, "ended already"),
        ({"reason": "x" * 1001}, InvalidInputError, "reason is 1001"),
        ({"subject_kind": SubjectKind.GROUP}, NotFoundError, "no group 'rob'"),
    ):
        with pytest.raises(error, match=says):
            await give(registry, **wrong)


async def test_what_adds_nothing_is_refused(registry: StateStore, clock: ManualClock) -> None:
    await fill(registry)
    soon, later = clock.now() + 60, clock.now() + 3600
    first = await give(registry, role="auditor", scope=PROD, expires_at=later)
    for ends in (soon, later):
        with pytest.raises(ConflictError, match=f"until 20.*, by grant {first.id}") as caught:
            await give(registry, role="auditor", scope=PROD, expires_at=ends)
        assert caught.value.hint == "Choose a later end, or revoke that grant first."
    lasting = await give(registry, role="auditor", scope=PROD)  # it goes on for longer
    with pytest.raises(ConflictError, match=f"for good, by grant {lasting.id}") as caught:
        await give(registry, role="auditor", scope=PROD, expires_at=soon)
    assert caught.value.hint == "Revoke that grant first."
    await give(registry, role="auditor", scope=WEB)
    await give(registry, role="auditor", scope=ORGANIZATION)
    await give(registry, role="admin", scope=PROD)
    await registry.people.revoke_grant(lasting.id, by="bob", reason="")
    clock.advance(3601)  # `first` is over as well
    await give(registry, role="auditor", scope=PROD, expires_at=clock.now() + 1)


async def test_revoked_once(registry: StateStore, clock: ManualClock) -> None:
    grant = await fill(registry)
    clock.advance(1)
    ended = await registry.people.revoke_grant(grant.id, by="bob", reason="left the team")
    assert (ended.revoked_at, ended.revoked_by, ended.revoked_reason) == (
        clock.now(),
        "bob",
        "left the team",
    )
    assert await registry.people.grant(grant.id) == ended
    with pytest.raises(ConflictError, match="revoked already, by 'bob'"):
        await registry.people.revoke_grant(grant.id, by="ann", reason="")
    assert (await registry.people.access()).grants == ()
