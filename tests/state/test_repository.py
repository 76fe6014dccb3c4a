import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.clock import ManualClock
from proxy.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
    SettingsError,
    UnavailableError,
)
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import ClusterRecord, Credential, Usage

KUBECONFIG = b"apiVersion: v1\nusers: [{user: {token: very-secret}}]\n"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def box() -> SecretBox:
    return SecretBox(bytes(32))


@pytest.fixture
async def store(url: str, clock: ManualClock, box: SecretBox) -> AsyncIterator[StateStore]:
    store = await StateStore.open(url, box, clock=clock)
    yield store
    await store.close()


def credential(
    clock: ManualClock, serial: str = "a1", user: str = "alice", life: float = 60.0
) -> Credential:
    return Credential(
        serial=serial,
        user=user,
        groups=("dev", 'o"ps'),
        clusters=("*",),
        usage=Usage.KUBECTL,
        issued_at=clock.now(),
        not_after=clock.now() + life,
        fingerprint=f"f-{serial}",
        issued_by="root",
    )


async def add(store: StateStore, name: str = "prod") -> ClusterRecord:
    return await store.add_cluster(name, server="https://10.0.0.1:6443", kubeconfig=KUBECONFIG)


async def test_an_empty_state(store: StateStore) -> None:
    snapshot = await store.snapshot()
    assert (snapshot.version, dict(snapshot.credentials), dict(snapshot.clusters)) == (1, {}, {})


async def test_what_is_recorded_is_in_the_snapshot(store: StateStore, clock: ManualClock) -> None:
    record = await add(store)
    issued = credential(clock)
    await store.record_credential(issued)
    snapshot = await store.snapshot()
    assert dict(snapshot.credentials) == {"a1": issued}
    assert dict(snapshot.clusters) == {"prod": record}
    assert snapshot.credentials["a1"].usage is Usage.KUBECTL


async def test_every_change_raises_the_version(store: StateStore, clock: ManualClock) -> None:
    seen = [await store.version()]
    for change in (
        lambda: add(store),
        lambda: store.record_credential(credential(clock)),
        lambda: store.set_cluster_note("prod", "may read secrets"),
        lambda: store.revoke(serial="a1"),
        lambda: store.remove_cluster("prod"),
    ):
        await change()
        seen.append(await store.version())
    assert seen == [1, 2, 3, 4, 5, 6]


async def test_a_note_that_is_there_already_changes_nothing(store: StateStore) -> None:
    await add(store)
    await store.set_cluster_note("prod", "")
    assert await store.version() == 2


async def test_a_failed_change_changes_nothing(store: StateStore, clock: ManualClock) -> None:
    await add(store)
    await store.record_credential(credential(clock))
    with pytest.raises(ConflictError, match="'prod' already"):
        await add(store)
    with pytest.raises(ConflictError, match="a1 is recorded"):
        await store.record_credential(credential(clock))
    with pytest.raises(NotFoundError, match="serial 'zz'"):
        await store.revoke(serial="zz")
    for absent in (store.remove_cluster("x"), store.cluster("x"), store.set_cluster_note("x", "")):
        with pytest.raises(NotFoundError, match="no cluster 'x'"):
            await absent
    assert await store.version() == 3


async def test_a_credential_for_an_unknown_cluster_is_refused(
    store: StateStore, clock: ManualClock
) -> None:
    wrong = credential(clock)
    wrong = Credential(
        **{name: getattr(wrong, name) for name in wrong.__struct_fields__} | {"clusters": ("nope",)}
    )
    with pytest.raises(NotFoundError, match="'nope'"):
        await store.record_credential(wrong)


@pytest.mark.parametrize(
    "name", ["", "Prod", "a/b", "a.b", "-a", "a-", "a" * 64, "a b", "..", "prod\n"]
)
async def test_cluster_names(store: StateStore, name: str) -> None:
    with pytest.raises(InvalidInputError, match="not a cluster name"):
        await add(store, name)


async def test_a_cluster_removed_and_added_again_is_another_one(store: StateStore) -> None:
    first = await add(store)
    await store.remove_cluster("prod")
    assert (await add(store)).id != first.id


async def test_another_account_leaves_it_the_same_cluster(
    store: StateStore, clock: ManualClock
) -> None:
    first = await add(store)
    await store.record_credential(credential(clock))
    clock.advance(5)
    before, after = await store.change_cluster(
        "prod", server="https://10.0.0.2:6443", kubeconfig=b"another", expected=first.version
    )
    assert before == first
    assert (after.id, after.created_at, after.server) == (
        first.id,
        first.created_at,
        "https://10.0.0.2:6443",
    )
    assert store.kubeconfig(after) == b"another"
    snapshot = await store.snapshot()
    assert snapshot.clusters["prod"] == after
    assert snapshot.reaches(snapshot.credentials["a1"], "prod")


async def test_a_cluster_that_was_changed_in_between_is_left_alone(store: StateStore) -> None:
    first = await add(store)
    await store.set_cluster_note("prod", "may list secrets")
    with pytest.raises(PreconditionError, match="changed in between"):
        await store.change_cluster("prod", server="x", kubeconfig=b"x", expected=first.version)
    with pytest.raises(PreconditionError):
        await store.remove_cluster("prod", expected=first.version)
    with pytest.raises(NotFoundError):
        await store.change_cluster("test", server="x", kubeconfig=b"x")
    now = await store.cluster("prod")
    assert (now.sealed, now.note) == (first.sealed, "may list secrets")
    await store.remove_cluster("prod", expected=now.version)


class TestRevocation:
    async def test_by_serial(self, store: StateStore, clock: ManualClock) -> None:
        await store.record_credential(credential(clock))
        clock.advance(5)
        revoked = await store.revoke(serial="a1", reason="laptop lost")
        assert [(item.serial, item.revoked_at, item.revoked_reason) for item in revoked] == [
            ("a1", clock.now(), "laptop lost")
        ]
        assert (await store.snapshot()).credentials["a1"] == revoked[0]

    async def test_again_keeps_the_first_time_and_reason(
        self, store: StateStore, clock: ManualClock
    ) -> None:
        await store.record_credential(credential(clock))
        (first,) = await store.revoke(serial="a1", reason="first")
        clock.advance(5)
        assert await store.revoke(serial="a1", reason="second") == []
        assert (await store.snapshot()).credentials["a1"] == first

    async def test_by_user_takes_all_that_live(self, store: StateStore, clock: ManualClock) -> None:
        await store.record_credential(credential(clock, "ended", life=1))
        for serial, user in (("a1", "alice"), ("a2", "alice"), ("b1", "bob")):
            await store.record_credential(credential(clock, serial, user))
        clock.advance(2)
        assert {item.serial for item in await store.revoke(user="alice")} == {"a1", "a2"}
        assert [item.serial for item in await store.credentials()] == ["b1"]

    @pytest.mark.parametrize("which", [{}, {"serial": "a", "user": "b"}])
    async def test_needs_exactly_one(self, store: StateStore, which: dict[str, str]) -> None:
        with pytest.raises(InvalidInputError, match="not both"):
            await store.revoke(**which)


async def test_listing(store: StateStore, clock: ManualClock) -> None:
    for serial, user in (("a1", "alice"), ("a2", "alice"), ("b1", "bob")):
        await store.record_credential(credential(clock, serial, user))
        clock.advance(1)
    await store.revoke(serial="a1")

    async def serials(**which: Any) -> list[str]:
        return [item.serial for item in await store.credentials(**which)]

    assert await serials() == ["b1", "a2"]
    assert await serials(ended=True) == ["b1", "a2", "a1"]
    assert await serials(user="alice", ended=True) == ["a2", "a1"]
    assert await serials(serial="b1") == ["b1"]
    assert await serials(limit=1) == ["b1"]


class TestSnapshot:
    async def test_is_the_same_object_while_nothing_changes(self, store: StateStore) -> None:
        snapshot = await store.snapshot()
        assert await store.snapshot(snapshot) is snapshot

    async def test_brought_up_to_date_equals_read_anew(
        self, store: StateStore, clock: ManualClock
    ) -> None:
        snapshot = await store.snapshot()
        await store.record_credential(credential(clock))
        snapshot = await store.snapshot(snapshot)
        await add(store)
        await store.record_credential(credential(clock, "a2"))
        await store.revoke(serial="a1")
        assert await store.snapshot(snapshot) == await store.snapshot()

    async def test_older_ones_stay_as_they_were(
        self, store: StateStore, clock: ManualClock
    ) -> None:
        await store.record_credential(credential(clock))
        before = await store.snapshot()
        await store.revoke(serial="a1")
        await store.snapshot(before)
        assert before.credentials["a1"].revoked_at is None

    async def test_leaves_out_what_has_ended(self, store: StateStore, clock: ManualClock) -> None:
        await store.record_credential(credential(clock, life=1))
        clock.advance(2)
        assert not (await store.snapshot()).credentials


class TestFile:
    @pytest.fixture
    def url(self, sqlite_file: str) -> str:
        return sqlite_file

    async def test_secrets_are_not_in_the_file(self, store: StateStore, tmp_path: Path) -> None:
        record = await add(store)
        assert store.kubeconfig(record) == KUBECONFIG
        assert b"very-secret" not in (tmp_path / "state.db").read_bytes()

    async def test_only_the_owner_reads_it(self, store: StateStore, tmp_path: Path) -> None:
        assert stat.S_IMODE((tmp_path / "state.db").stat().st_mode) == 0o600

    async def test_rollback_journal_and_full_syncs(self, store: StateStore) -> None:
        async with store._engine.connect() as connection:
            for pragma, value in (
                ("journal_mode", "delete"),
                ("synchronous", 2),
                ("busy_timeout", 5000),
            ):
                assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar() == value

    async def test_a_newer_schema_is_refused(
        self, store: StateStore, tmp_path: Path, clock: ManualClock, box: SecretBox, url: str
    ) -> None:
        with sqlite3.connect(tmp_path / "state.db") as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.close()
        with pytest.raises(SettingsError, match="does not know"):
            await StateStore.open(url, box, clock=clock)

    async def test_one_that_is_no_database_is_unavailable(
        self, url: str, tmp_path: Path, clock: ManualClock, box: SecretBox
    ) -> None:
        (tmp_path / "state.db").write_bytes(b"x" * 4096)
        with pytest.raises(UnavailableError, match="not a database"):
            await StateStore.open(url, box, clock=clock)

    async def test_first_starts_at_once_agree(
        self, url: str, clock: ManualClock, box: SecretBox
    ) -> None:
        stores = await asyncio.gather(*(StateStore.open(url, box, clock=clock) for _ in range(4)))
        try:
            assert {await store.version() for store in stores} == {1}
        finally:
            for store in stores:
                await store.close()


async def test_survives_a_restart(
    store: StateStore, url: str, clock: ManualClock, box: SecretBox
) -> None:
    await add(store)
    again = await StateStore.open(url, box, clock=clock)
    try:
        assert await again.snapshot() == await store.snapshot()
    finally:
        await again.close()


async def test_writers_in_two_processes_do_not_lose_changes(
    store: StateStore, url: str, clock: ManualClock, box: SecretBox
) -> None:
    other = await StateStore.open(url, box, clock=clock)
    try:
        await asyncio.gather(
            *(
                (store, other)[number % 2].record_credential(credential(clock, f"{number:x}"))
                for number in range(20)
            )
        )
        assert len((await store.snapshot()).credentials) == 20
        assert await store.version() == 21
    finally:
        await other.close()


@pytest.mark.parametrize(
    ("given", "message"),
    [("nonsense", "not a database URL"), ("mysql://u:pw@h/d", "mysql is not supported")],
)
async def test_unusable_urls(given: str, message: str, clock: ManualClock, box: SecretBox) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        await StateStore.open(given, box, clock=clock)
    assert "pw" not in str(caught.value)
