"""The cluster of our own pod: registered once, on record, and never in place of another."""

import asyncio
import json
from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.audit.acts import Acts, into
from proxy.clock import ManualClock
from proxy.errors import ConflictError, SettingsError, UnavailableError
from proxy.runtime.local_cluster import register_local
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.upstream.access import Access, AccessError

SERVER = "https://10.96.0.1:443"


class Notes:
    """A journal that keeps what it is given, or nothing."""

    failure = ""
    reserve_left = 0

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.full = False

    def append(self, body: bytes, *, urgent: bool = True, reserve: bool = False) -> Future[int]:
        del urgent, reserve
        if self.full:
            raise UnavailableError("no space")
        self.events.append(json.loads(b"{%b}" % body))
        future: Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(len(self.events))
        return future

    def post(self, body: bytes) -> None:
        _ = self.append(body)


def own() -> Access:
    return Access(SERVER, ca_pem=b"CA", token_file=Path("/token"))


Place = tuple[StateStore, Notes, Callable[..., Awaitable[bool]]]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    clock = ManualClock()
    box = SecretBox(bytes(32))
    store = await StateStore.open(sqlite_url(tmp_path / "state.db"), box, clock=clock)
    notes = Notes()

    async def register(name: str = "local", access: Callable[[], Access] = own) -> bool:
        return await register_local(name, store, Acts(into(notes), clock), access)

    yield store, notes, register
    await store.close()


async def test_it_is_added_once_and_on_record_before_and_after(place: Place) -> None:
    store, notes, register = place
    assert await register()
    assert not await register(), "a restart adds nothing"
    (record,) = await store.clusters()
    assert (record.name, record.server, record.in_cluster) == ("local", SERVER, True)
    assert [(item["action"], item.get("outcome", "ok")) for item in notes.events] == [
        ("cluster.add", "requested"),
        ("cluster.add", "ok"),
    ]
    assert len({item["auditID"] for item in notes.events}) == 1


async def test_without_a_name_nothing_is_looked_at(place: Place) -> None:
    store, notes, register = place

    def outside() -> Access:
        raise AssertionError

    assert not await register("", outside)
    assert (await store.clusters(), notes.events) == ([], [])


async def test_a_name_that_is_another_cluster_is_refused(place: Place) -> None:
    store, notes, register = place
    await store.add_cluster("local", server="https://other", kubeconfig=b"x")
    with pytest.raises(ConflictError, match="https://other"):
        await register()
    assert notes.events == []


async def test_of_two_replicas_that_start_at_once_both_go_on(place: Place) -> None:
    store, _, register = place
    assert sorted(await asyncio.gather(register(), register())) == [False, True]
    assert len(await store.clusters()) == 1


async def test_what_cannot_be_recorded_is_not_done(place: Place) -> None:
    store, notes, register = place
    notes.full = True
    with pytest.raises(UnavailableError):
        await register()
    assert await store.clusters() == []


async def test_outside_a_pod_and_with_a_bad_name_it_says_so(place: Place) -> None:
    *_, register = place

    def outside() -> Access:
        raise AccessError("no service account")

    with pytest.raises(AccessError):
        await register("local", outside)
    with pytest.raises(SettingsError, match="in_cluster"):
        await register("Not A Name")
