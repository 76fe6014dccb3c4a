import msgspec
import pytest

from proxy.errors import ConflictError, InvalidInputError
from proxy.state.access import ClusterAccess, Role, Rule, ScopeKind
from proxy.state.naming import BUILT_IN_ROLES
from proxy.state.repository import StateStore
from tests.state.people import DEPLOYER, WEB, fill, give


def role(**changed: object) -> Role:
    return msgspec.structs.replace(DEPLOYER, **changed)


async def test_one_of_a_name(registry: StateStore) -> None:
    await registry.people.add_role(DEPLOYER)
    with pytest.raises(ConflictError, match="role 'deployer' already"):
        await registry.people.add_role(DEPLOYER)


@pytest.mark.parametrize("name", sorted(BUILT_IN_ROLES))
async def test_built_in_ones_are_not_to_be_had(registry: StateStore, name: str) -> None:
    for change in (
        registry.people.add_role(role(name=name)),
        registry.people.replace_role(role(name=name)),
        registry.people.remove_role(name),
    ):
        with pytest.raises(ConflictError, match=f"{name!r} is built in"):
            await change


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": ()},
        {"clusters": ClusterAccess.FULL},
        {"built_in": True},
        {"rules": (Rule(verbs=()),)},
        {"denies": (Rule(verbs=("get",)),)},
        {"kubernetes_groups": ("system:masters",)},
        {"kubernetes_groups": ("SYSTEM:nodes",)},
        {"name": "Deployer"},
        {"description": "x" * 1001},
    ],
    ids=str,
)
async def test_what_is_no_role(registry: StateStore, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        await registry.people.add_role(role(**wrong))


async def test_what_is_no_role_does_not_replace_one(registry: StateStore) -> None:
    await registry.people.add_role(DEPLOYER)
    with pytest.raises(InvalidInputError, match="reserved"):
        await registry.people.replace_role(role(kubernetes_groups=("system:masters",)))


async def test_replaced_for_all_who_have_it(registry: StateStore) -> None:
    await fill(registry)
    before, after = await registry.people.replace_role(
        role(permissions=frozenset(), scopes=(ScopeKind.CLUSTER,), created_by="eve")
    )
    assert before.permissions == DEPLOYER.permissions
    assert (after.permissions, after.created_by) == (frozenset(), "ann")
    assert after.changed > before.changed
    assert (await registry.people.access()).roles == {"deployer": after}
    assert await registry.people.replace_role(after) == (after, after)


async def test_not_where_it_is_granted_and_could_not_be(registry: StateStore) -> None:
    await fill(registry)
    with pytest.raises(ConflictError, match=r"other scopes than namespace is in use.*user rob"):
        await registry.people.replace_role(role(scopes=(ScopeKind.NAMESPACE,)))


async def test_one_that_is_granted_stays(registry: StateStore) -> None:
    grant = await fill(registry)
    again = await give(registry, scope=WEB)
    with pytest.raises(ConflictError, match=r"grants to user rob\..*--role deployer"):
        await registry.people.remove_role("deployer")
    for given in (grant, again):
        await registry.people.revoke_grant(given.id, by="ann", reason="")
    assert (await registry.people.remove_role("deployer")).name == "deployer"
    assert (await registry.people.access()).roles == {}
