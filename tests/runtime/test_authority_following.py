"""A rotation at one replica reaches the other, and what cannot be trusted does not."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.cli.app import run
from proxy.cli.client import Client
from proxy.cli.connection import of_data_dir
from proxy.clock import SystemClock
from proxy.data_dir import DataDir
from proxy.errors import UnavailableError
from proxy.metrics import Metrics
from proxy.pki.authority import new_authority, pem
from proxy.pki.keys import fingerprint, key_pem, new_key
from proxy.runtime import authority_following
from proxy.runtime.authority_following import AuthorityFollower
from proxy.runtime.identity import Identity
from proxy.settings import Settings
from proxy.state.authorities import SharedAuthority
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.watcher import SnapshotWatcher
from proxy.tasks import cancel, spawn
from tests.audit.index.postgresql.databases import Ready, ready_database
from tests.postgres import Postgres
from tests.runtime.processes import initialised, running


@pytest.fixture
def ready(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as ready:
        yield ready


async def test_replicas_take_over_what_one_of_them_made(
    own_environment: None, ready: Ready, tmp_path: Path
) -> None:
    one = initialised(tmp_path / "one", database=ready.url)
    like = ["init", "--like", str(one.data_dir), "--data-dir", str(tmp_path / "two")]
    assert await asyncio.to_thread(run, like) == 0
    two = one.model_copy(update={"data_dir": tmp_path / "two"})
    async with running(one), running(two):
        clients = [Client(of_data_dir(each.data_dir)) for each in (one, two)]
        made = await asyncio.to_thread(clients[0].post, "/authority/rotate")
        async with asyncio.timeout(10):
            while True:
                found = await asyncio.to_thread(clients[1].get, "/authority")
                if found["current"] == made["current"]:
                    break
                await asyncio.sleep(0.05)
        assert {item["fingerprint"] for item in found["trusted"]} == {
            item["fingerprint"] for item in made["trusted"]
        }
        assert len(found["trusted"]) == 2
        again = await asyncio.to_thread(clients[1].post, "/authority/rotate")
        assert len(again["trusted"]) == 3


Parts = tuple[Identity, StateStore, AuthorityFollower]


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    """A data directory's identity, and the state it follows (any database will do here)."""
    data, clock = DataDir(settings.data_dir), SystemClock()
    store = await StateStore.open(
        f"sqlite:///{data.state_database}", SecretBox.open(data.state_key), clock=clock
    )
    identity = Identity(settings, data, clock, Metrics(), issuing=True)
    follower = AuthorityFollower(identity, store, SnapshotWatcher(store, clock=clock))
    yield identity, store, follower
    await store.close()


def new() -> tuple[str, bytes, bytes]:
    made = new_authority(new_key(), SystemClock().now() + 5)
    return fingerprint(made.certificate), pem(made.certificate), key_pem(made.key)


async def test_one_that_is_there_is_taken_once(parts: Parts) -> None:
    identity, store, follower = parts
    name, certificate, key = new()
    await store.authorities.share(name, certificate, key)
    for _ in range(2):
        await follower.take_over()
        assert fingerprint(identity.authorities().current.certificate) == name
        assert len(identity.authorities().trusted) == 2


async def test_what_is_no_authority_of_ours_is_refused_and_said_once(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    identity, store, follower = parts
    (name, certificate, _), (other, _, key) = new(), new()
    await store.authorities.share(name, certificate, key)  # the key of another
    await store.authorities.share(other, b"garbage", key)
    good = new()
    await store.authorities.share(*good)
    for _ in range(2):
        await follower.take_over()
    assert not identity.trusts(name)
    assert identity.trusts(good[0])
    assert capsys.readouterr().out.count("is not taken over") == 2


async def test_neither_an_outage_nor_a_defect_ends_it(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, store, follower = parts
    monkeypatch.setattr(authority_following, "RETRY", 0.001)
    monkeypatch.setattr(authority_following, "LOOK", 0.001)
    errors = [UnavailableError("away"), RuntimeError("closed transport"), UnavailableError("away")]
    real = store.authorities.list

    async def failing() -> list[SharedAuthority]:
        if errors:
            raise errors.pop()
        return await real()

    monkeypatch.setattr(store.authorities, "list", failing)
    name, certificate, key = new()
    await store.authorities.share(name, certificate, key)
    running = spawn(follower.run(), name="follower")
    async with asyncio.timeout(5):
        while not identity.trusts(name):
            await asyncio.sleep(0.005)
    await cancel(running)
