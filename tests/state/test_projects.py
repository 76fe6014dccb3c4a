import pytest

from proxy.errors import ConflictError, NotFoundError
from proxy.state.access import Place, UserKind
from proxy.state.repository import StateStore
from tests.state.people import SHOP, fill, give


async def test_only_what_is_given_changes(registry: StateStore) -> None:
    await fill(registry)
    before, after = await registry.people.change_project("shop", description="The shop")
    assert after.places == before.places == (Place("prod", ("api", "web")),)
    _, whole = await registry.people.change_project("shop", places=[Place("prod")])
    assert (whole.places, whole.description) == ((Place("prod"),), "The shop")
    assert whole.changed > after.changed > before.changed
    assert await registry.people.change_project("shop", places=[Place("prod")]) == (whole, whole)
    assert (await registry.people.access()).projects == {"shop": whole}


async def test_its_clusters_are_known(registry: StateStore) -> None:
    await fill(registry)
    with pytest.raises(NotFoundError, match=r"no cluster a, b\."):
        await registry.people.change_project("shop", places=[Place(name) for name in "ba"])
    assert (await registry.people.add_project("empty", places=(), by="ann")).places == ()


async def test_one_of_a_name(registry: StateStore) -> None:
    await fill(registry)
    with pytest.raises(ConflictError, match="project 'shop' already"):
        await registry.people.add_project("shop", places=(), by="ann")


async def test_one_with_grants_stays_and_some_are_named(registry: StateStore) -> None:
    await fill(registry)
    people = registry.people
    for number in range(7):
        await people.add_user(f"u{number}", kind=UserKind.PERSON, by="ann")
        await give(registry, f"u{number}", "project-admin", SHOP)
    with pytest.raises(ConflictError, match=r"user u3, user u4, … \(7 in all\)"):
        await people.remove_project("shop")
    for grant in await people.grants(project="shop"):
        await people.revoke_grant(grant.id, by="ann", reason="")
    assert (await people.remove_project("shop")).name == "shop"
    assert (await people.access()).projects == {}


async def test_a_cluster_that_is_removed_leaves_and_ends_its_grants(registry: StateStore) -> None:
    grant = await fill(registry)
    people = registry.people
    await registry.add_cluster("test", server="https://t", kubeconfig=b"k")
    await people.change_project("shop", places=[Place("prod"), Place("test")])
    other = await give(registry, role="project-admin", scope=SHOP)
    before = await registry.snapshot()
    await registry.remove_cluster("prod", by="ann")
    after = await registry.snapshot(before)
    assert after.version == before.version + 1
    assert after.access.projects["shop"].places == (Place("test"),)
    assert after.access.grants == (other,)
    ended = await people.grant(grant.id)
    assert (ended.revoked_by, ended.revoked_reason) == ("ann", "cluster prod was removed")
    assert after == await registry.snapshot()
