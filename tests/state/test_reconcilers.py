"""Second accounts at clusters: sealed, and of one cluster only."""

import pytest

from proxy.clock import ManualClock
from proxy.errors import NotFoundError, PreconditionError
from proxy.state.reconcilers import ReconcilerRecord
from proxy.state.repository import StateStore
from proxy.state.sealing import SealError, SecretBox


async def opened(url: str) -> StateStore:
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=ManualClock())
    await store.add_cluster("prod", server="https://one", kubeconfig=b"first account")
    return store


async def put(
    store: StateStore, *, enforce: bool = False, secret: bytes = b"second account"
) -> ReconcilerRecord:
    return await store.reconcilers.put(
        "prod", server="https://one", kubeconfig=secret, enforce=enforce, by="alice"
    )


async def test_what_is_put_is_found_and_the_next_one_takes_its_place(url: str) -> None:
    store = await opened(url)
    await put(store)
    later = await put(store, enforce=True, secret=b"another")
    assert await store.reconcilers.list() == [later]
    assert (later.enforce, later.created_by) == (True, "alice")
    assert b"another" not in later.sealed
    assert store.reconcilers.kubeconfig(later) == b"another"
    assert await store.reconcilers.find("prod") == later
    assert await store.reconcilers.remove("prod") == later
    with pytest.raises(NotFoundError, match="not looked after"):
        await store.reconcilers.find("prod")
    await store.close()


async def test_what_was_changed_in_between_is_left_alone(url: str) -> None:
    store = await opened(url)
    first = await put(store)
    second = await put(store, enforce=True)
    with pytest.raises(PreconditionError, match="changed in between"):
        await store.reconcilers.put(
            "prod", server="x", kubeconfig=b"x", enforce=False, by="bob", expected=first.version
        )
    with pytest.raises(PreconditionError):
        await store.reconcilers.remove("prod", expected=first.version)
    assert await store.reconcilers.find("prod") == second
    await store.reconcilers.remove("prod", expected=second.version)
    await store.close()


async def test_a_cluster_that_is_not_there_has_none(url: str) -> None:
    store = await opened(url)
    with pytest.raises(NotFoundError, match="no cluster 'test'"):
        await store.reconcilers.put(
            "test", server="https://one", kubeconfig=b"x", enforce=False, by="alice"
        )
    with pytest.raises(NotFoundError):
        await store.reconcilers.remove("prod")
    await store.close()


async def test_another_cluster_of_that_name_gets_nothing_of_it(url: str) -> None:
    store = await opened(url)
    record = await put(store)
    first = await store.cluster("prod")
    # Neither account opens as the other.
    with pytest.raises(SealError):
        SecretBox(bytes(32)).unseal(first.id, record.sealed)
    await store.remove_cluster("prod")
    await store.add_cluster("prod", server="https://two", kubeconfig=b"first account")
    assert await store.reconcilers.list() == []
    await store.close()
