"""RoleBindings asked for and changed with an account of ours."""

import pytest

from proxy.authz.bindings import SELECTOR, Binding
from proxy.errors import NotFoundError, UnavailableError
from proxy.upstream.rolebindings import RoleBindings
from tests.upstream.fake_rbac import FakeRbac, serving

WEB = Binding("web", "kubewitness-namespace-admin", "kubewitness:namespace-admin:web", "admin")


async def test_lists_are_read_to_their_end() -> None:
    fake = FakeRbac(namespaces={f"n{number}" for number in range(7)}, going={"n3"})
    for name in fake.namespaces:
        fake.bindings[name, WEB.name] = WEB._replace(namespace=name).manifest()
    async with serving(fake) as pool:
        bindings = RoleBindings(pool, fake.target())
        assert await bindings.namespaces() == fake.namespaces - {"n3"}
        assert len(await bindings.ours(SELECTOR)) == 7


async def test_made_and_taken_away_and_twice_is_as_good() -> None:
    fake = FakeRbac()
    async with serving(fake) as pool:
        bindings = RoleBindings(pool, fake.target())
        for _ in range(2):
            await bindings.create(WEB.manifest())
        assert await bindings.ours(SELECTOR) == [WEB.manifest()]
        for _ in range(2):
            await bindings.delete("web", WEB.name)
        assert fake.bindings == {}


async def test_what_the_cluster_says_is_passed_on() -> None:
    fake = FakeRbac(refuses={"POST"})
    async with serving(fake) as pool:
        bindings = RoleBindings(pool, fake.target())
        with pytest.raises(UnavailableError, match="'prod' says: rolebindings is forbidden"):
            await bindings.create(WEB.manifest())
        fake.refuses.clear()
        with pytest.raises(NotFoundError, match='namespaces "new" not found'):
            await bindings.create(WEB._replace(namespace="new").manifest())


async def test_a_namespace_cannot_lead_out_of_its_path() -> None:
    fake = FakeRbac()
    async with serving(fake) as pool:
        await RoleBindings(pool, fake.target()).delete("../../x", "y/z")
    assert fake.seen == [
        "DELETE /apis/rbac.authorization.k8s.io/v1/namespaces/../../x/rolebindings/y/z"
    ]
