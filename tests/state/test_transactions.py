"""What a caller of the state sees when its PostgreSQL misbehaves: an error soon, and then success."""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy.clock import ManualClock, SystemClock
from proxy.errors import UnavailableError
from proxy.state import tables
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import Credential, Usage
from proxy.state.transactions import translated
from tests.faults.fault_proxy import Cut, FaultProxy, Mode
from tests.postgres import Database

PATIENCE = 2.2
"""Seconds after which a caller has an answer, whatever it is, on a busy machine."""
METHODS: dict[str, Callable[[StateStore], Awaitable[object]]] = {
    "version": lambda store: store.version(),
    "snapshot": lambda store: store.snapshot(),
    "clusters": lambda store: store.clusters(),
    "cluster": lambda store: store.cluster("prod"),
    "add_cluster": lambda store: store.add_cluster("new", server="https://s", kubeconfig=b"k"),
    "remove_cluster": lambda store: store.remove_cluster("prod"),
    "set_cluster_note": lambda store: store.set_cluster_note("prod", "n"),
    "record_credential": lambda store: store.record_credential(credential("b1")),
    "revoke": lambda store: store.revoke(serial="a1"),
    "credentials": lambda store: store.credentials(),
    "holds": lambda store: store.retentions.holds(),
    "access": lambda store: store.people.access(),
    "add_group": lambda store: store.people.add_group("dev", by="ann"),
    "grants": lambda store: store.people.grants(),
    "apply": lambda store: store.people.apply([], version=1),
    "tokens": lambda store: store.tokens.list(),
}


def credential(serial: str) -> Credential:
    return Credential(serial, "alice", (), ("*",), Usage.KUBECTL, 0.0, 2e9, "f")


@pytest.fixture
async def proxy(state_database: Database) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(state_database.server.port, seed=1) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: FaultProxy, postgres_url: str) -> AsyncIterator[StateStore]:
    box = SecretBox(bytes(32))
    store = await StateStore.open(proxy.url(postgres_url), box, clock=ManualClock())
    await store.add_cluster("prod", server="https://s", kubeconfig=b"k")
    await store.record_credential(credential("a1"))
    yield store
    begin = time.monotonic()
    await store.close()
    assert time.monotonic() - begin < PATIENCE


async def fails_soon(call: Awaitable[object]) -> None:
    begin = time.monotonic()
    with pytest.raises(UnavailableError, match="state database"):
        await call
    assert time.monotonic() - begin < PATIENCE


async def test_every_method_gives_up_on_a_server_that_is_silent(
    proxy: FaultProxy, store: StateStore
) -> None:
    await proxy.set_mode(Mode.BLACKHOLE)
    await asyncio.gather(*(fails_soon(method(store)) for method in METHODS.values()))
    await proxy.set_mode(Mode.PASS)
    assert await store.version() == 3


async def test_new_connections_give_up_too(proxy: FaultProxy, store: StateStore) -> None:
    proxy.cut()
    await proxy.set_mode(Mode.BLACKHOLE)
    await fails_soon(store.version())


@pytest.mark.parametrize(
    "made_of_it", [OSError("closed"), UnavailableError("It was given up.")], ids=["driver", "limit"]
)
async def test_who_is_cancelled_is_not_told_of_the_database(made_of_it: Exception) -> None:
    begun = asyncio.Event()

    async def ask() -> None:
        with translated():
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise made_of_it from None  # what a driver does that is cut at the same moment

    asked = asyncio.create_task(ask())
    await begun.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


@pytest.mark.parametrize("name", METHODS)
async def test_a_refused_connection_fails_at_once(
    proxy: FaultProxy, store: StateStore, name: str
) -> None:
    await proxy.set_mode(Mode.REFUSE)
    proxy.cut()
    begin = time.monotonic()
    await fails_soon(METHODS[name](store))
    assert time.monotonic() - begin < 0.5
    await proxy.set_mode(Mode.PASS)
    await METHODS[name](store)


@pytest.mark.parametrize("name", METHODS)
async def test_connections_that_died_while_idle_are_replaced_unnoticed(
    proxy: FaultProxy, store: StateStore, name: str
) -> None:
    await store.version()
    proxy.cut()
    await METHODS[name](store)


async def test_a_restarted_server_is_found_again(
    store: StateStore, state_database: Database
) -> None:
    await asyncio.to_thread(state_database.server.restart, "immediate")
    assert await store.version() == 3


@pytest.mark.parametrize(
    ("cut", "made"), [(Cut.BEFORE, False), (Cut.AFTER, True), (Cut.MIDWAY, True)]
)
async def test_a_cut_at_the_commit_says_that_it_is_not_known(
    proxy: FaultProxy, store: StateStore, cut: Cut, made: bool
) -> None:
    proxy.at_commits(lambda _: cut)
    with pytest.raises(UnavailableError, match=r"while it committed.*See whether"):
        await store.revoke(serial="a1")
    proxy.at_commits(lambda _: None)
    (found,) = await store.credentials(serial="a1", ended=True)
    assert (found.revoked_at is not None) == made
    assert await store.version() == (4 if made else 3)


async def test_a_version_is_of_the_moment_of_what_is_read(store: StateStore) -> None:
    """What a reader sees of other tables is as old as the version it saw."""
    async with store._reading() as (connection, version):
        await store.remove_cluster("prod")
        assert len((await connection.execute(tables.clusters.select())).all()) == 1
    assert await store.version() == version + 1


def write_many(url: str, name: str, writers: int, changes: int) -> None:
    async def run() -> None:
        store = await StateStore.open(url, SecretBox(bytes(32)), clock=SystemClock())

        async def write(writer: int) -> None:
            for number in range(changes):
                await store.record_credential(credential(f"{name}-{writer}-{number}"))

        await asyncio.gather(*(write(writer) for writer in range(writers)))
        await store.close()

    asyncio.run(run())


def test_writers_of_two_processes_count_every_change_once(
    postgres_url: str, state_database: Database
) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=write_many, args=(postgres_url, name, 4, 20)) for name in "ab"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
        process.close()
    answer = state_database.exec(
        "SELECT version, (SELECT count(DISTINCT changed) FROM kubewitness.credentials),"
        " (SELECT max(changed) FROM kubewitness.credentials) FROM kubewitness.meta"
    )
    assert answer == "161|160|161"
