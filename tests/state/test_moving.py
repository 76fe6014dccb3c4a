"""From SQLite to PostgreSQL: everything arrives, or nothing does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from proxy.clock import ManualClock
from proxy.errors import ConflictError, NotFoundError
from proxy.state.moving import move
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import Credential, Snapshot, Usage
from tests.state import people

BOX = SecretBox(bytes(32))
CLOCK = ManualClock()
KUBECONFIG = b"a secret"


def credential(number: int) -> Credential:
    now = CLOCK.now()
    return Credential(
        serial=f"{number:x}",
        user=f"user-{number}",
        groups=("dev", 'o"ps'),
        clusters=("prod",),
        usage=Usage.KUBECTL,
        issued_at=now,
        not_after=now + 3600,
        fingerprint=f"f-{number}",
        issued_by="root",
    )


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[StateStore]:
    store = await StateStore.open(url, BOX, clock=CLOCK)
    try:
        yield store
    finally:
        await store.close()


async def filled(url: str) -> Snapshot:
    async with opened(url) as store:
        return await fill(store)


async def fill(store: StateStore) -> Snapshot:
    await store.add_cluster("prod", server="https://10.0.0.1:6443", kubeconfig=KUBECONFIG)
    for number in range(12):
        await store.record_credential(credential(number))
    await store.revoke(serial="3", reason="lost")
    await store.retentions.place_hold(since=None, until=None, by="ann", reason="court")
    await people.fill(store)
    await store.tokens.add(people.token("t1", CLOCK.now()))
    return await store.snapshot()


async def test_everything_arrives(sqlite_file: str, postgres_url: str, tmp_path: Path) -> None:
    before = await filled(sqlite_file)
    moved = await move(tmp_path / "state.db", postgres_url)
    assert {name: rows for name, rows in moved.items() if rows} == {
        "clusters": 1,
        "credentials": 12,
        "legal_holds": 1,
        "users": 1,
        "groups": 1,
        "projects": 1,
        "roles": 1,
        "grants": 1,
        "tokens": 1,
    }
    async with opened(postgres_url) as store:
        await arrived(store, before)


async def arrived(store: StateStore, before: Snapshot) -> None:
    after = await store.snapshot()
    assert after.version > before.version
    assert (after.credentials, after.clusters) == (before.credentials, before.clusters)
    assert after.access == msgspec.structs.replace(before.access, version=after.version)
    assert after.tokens == before.tokens
    assert store.kubeconfig(await store.cluster("prod")) == KUBECONFIG
    # A change afterwards is a change: its version is above all that came along.
    await store.revoke(serial="4", reason="lost, too")
    assert (await store.snapshot(after)).credentials["4"].revoked_at is not None


async def test_a_second_move_is_refused(
    sqlite_file: str, postgres_url: str, tmp_path: Path
) -> None:
    await filled(sqlite_file)
    await move(tmp_path / "state.db", postgres_url)
    with pytest.raises(ConflictError, match="has a state already"):
        await move(tmp_path / "state.db", postgres_url)


async def test_without_an_embedded_state_there_is_nothing_to_move(
    postgres_url: str, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match=r"state\.db is not there"):
        await move(tmp_path / "state.db", postgres_url)
