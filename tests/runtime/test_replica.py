"""Replicas share the authority, the state's key and the database, and nothing else."""

from pathlib import Path

import pytest
import yaml

from proxy.cli.app import run
from proxy.clock import SystemClock
from proxy.data_dir import DataDir
from proxy.metrics import Metrics
from proxy.pki.keys import new_key
from proxy.runtime.core import state_url
from proxy.runtime.identity import Identity
from proxy.settings import Settings, load
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import Credential, Usage
from tests.postgres import Database
from tests.state.conftest import LOGIN, PASSWORD, upgrade

SHARED = ("ca.crt", "ca.key", "state.key")


@pytest.fixture
def url(database: Database) -> str:
    upgrade(database)
    return database.login(LOGIN, PASSWORD)


@pytest.fixture
def origin(
    tmp_path: Path, url: str, own_environment: None, capsys: pytest.CaptureFixture[str]
) -> DataDir:
    path = tmp_path / "origin"
    names = ["--tls-names", "proxy.example"]
    assert run(["init", "--data-dir", str(path), "--database", url, *names]) == 0
    return DataDir(path)


def replica(path: Path, origin: DataDir, *more: str) -> int:
    return run(["init", "--data-dir", str(path), "--like", str(origin.path), *more])


def settings(data: DataDir) -> Settings:
    return load({"data_dir": str(data.path)})


def content(data: DataDir) -> dict[str, bytes]:
    return {name: (data.pki / name).read_bytes() for name in SHARED}


def test_it_has_what_replicas_share_and_its_own_rest(
    tmp_path: Path, origin: DataDir, url: str
) -> None:
    data = DataDir(tmp_path / "replica")
    assert replica(data.path, origin, "--listen", "127.0.0.1:1") == 0
    assert content(data) == content(origin)
    for own in ("instance", "pki/server.key", "admin/context.yaml"):
        assert (data.path / own).read_bytes() != (origin.path / own).read_bytes()
    assert all((data.pki / name).stat().st_mode & 0o777 == 0o600 for name in SHARED)
    found = settings(data)
    assert (found.database, found.tls.names) == (url, ("proxy.example",))
    assert (found.listen, found.control) == ("127.0.0.1:1", "127.0.0.1:9443")


async def test_each_accepts_the_others_credentials_and_opens_its_clusters(
    tmp_path: Path, origin: DataDir, url: str
) -> None:
    other = DataDir(tmp_path / "replica")
    from asyncio import to_thread

    assert await to_thread(replica, other.path, origin) == 0
    clock = SystemClock()
    opened = []
    for data in (origin, other):
        found = settings(data)
        box = SecretBox.choose(found.state_key_file, data.state_key)
        store = await StateStore.open(state_url(found, data), box, clock=clock)
        opened.append((store, Identity(found, data, clock, Metrics(), issuing=True)))
    try:
        for (mine, identity), (theirs, trusting) in (opened, opened[::-1]):
            name = f"c{len(await mine.clusters())}"
            await mine.add_cluster(name, server="https://s", kubeconfig=name.encode())
            issued = identity.authorities().issue(
                new_key().public_key(), user="ann", ttl=600, max_ttl=600
            )
            now = clock.now()
            await mine.record_credential(
                Credential(
                    *(issued.serial, "ann", (), (name,), Usage.KUBECTL),
                    *(now, issued.not_after, issued.fingerprint),
                )
            )
            snapshot = await theirs.snapshot()
            assert issued.serial in snapshot.credentials
            assert theirs.kubeconfig(snapshot.clusters[name]) == name.encode()
            assert trusting.authorities().bundle_pem() == identity.authorities().bundle_pem()
    finally:
        for store, _ in opened:
            await store.close()


def test_a_key_file_that_is_named_is_used_and_not_copied(
    tmp_path: Path, url: str, own_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "shared.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o640)
    first, second = DataDir(tmp_path / "first"), DataDir(tmp_path / "second")
    arguments = ["--database", url, "--state-key-file", str(key)]
    assert run(["init", "--data-dir", str(first.path), *arguments]) == 0
    assert replica(second.path, first) == 0
    assert settings(second).state_key_file == key
    assert not first.state_key.exists()
    assert not second.state_key.exists()


@pytest.mark.parametrize(
    ("mode", "size", "says"),
    [(0o600, 31, "not a state key"), (0o604, 32, "others may read"), (None, 0, "does not exist")],
)
def test_a_key_file_that_cannot_be_used(
    tmp_path: Path,
    url: str,
    own_environment: None,
    capsys: pytest.CaptureFixture[str],
    mode: int | None,
    size: int,
    says: str,
) -> None:
    key = tmp_path / "shared.key"
    if mode is not None:
        key.write_bytes(bytes(size))
        key.chmod(mode)
    arguments = ["--data-dir", str(tmp_path / "d"), "--database", url, "--state-key-file", str(key)]
    assert run(["init", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_without_a_common_database_there_are_no_replicas(
    tmp_path: Path, own_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    lone = DataDir(tmp_path / "lone")
    assert run(["init", "--data-dir", str(lone.path)]) == 0
    assert replica(tmp_path / "replica", lone) == 2
    assert "replicas share one" in capsys.readouterr().err
    assert not (tmp_path / "replica").exists()


def test_an_origin_that_is_none_is_named(
    tmp_path: Path, own_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replica(tmp_path / "replica", DataDir(tmp_path / "nothing")) == 4
    assert str(tmp_path / "nothing") in capsys.readouterr().err


def test_another_authority_is_not_replaced(
    tmp_path: Path, origin: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    data = DataDir(tmp_path / "replica")
    data.create()
    (data.pki / "ca.crt").write_text("mine")
    assert replica(data.path, origin) == 5
    assert (data.pki / "ca.crt").read_text() == "mine"


def test_an_interrupted_init_is_finished_by_the_next(tmp_path: Path, origin: DataDir) -> None:
    data = DataDir(tmp_path / "replica")
    assert replica(data.path, origin) == 0
    data.settings.unlink()
    assert replica(data.path, origin) == 0
    assert content(data) == content(origin)


def test_a_copy_of_settings_and_keys_is_origin_enough(tmp_path: Path, origin: DataDir) -> None:
    copy = DataDir(tmp_path / "copy")
    copy.pki.mkdir(parents=True)
    copy.settings.write_bytes(origin.settings.read_bytes())
    for name in SHARED:
        (copy.pki / name).write_bytes((origin.pki / name).read_bytes())
    assert replica(tmp_path / "replica", copy) == 0
    document = yaml.safe_load((tmp_path / "replica" / "kubewitness.yaml").read_text())
    assert document["tls"]["names"] == ["proxy.example"]


def test_a_replica_with_a_key_of_its_own_is_refused(
    tmp_path: Path, origin: DataDir, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", "--data-dir", str(tmp_path / "alone"), "--database", url]) == 2
    assert "sealed with key" in capsys.readouterr().err


def test_a_url_that_stands_in_a_file_stays_there(tmp_path: Path, origin: DataDir, url: str) -> None:
    file = tmp_path / "dsn"
    file.write_text(url)
    data = DataDir(tmp_path / "replica")
    assert replica(data.path, origin, "--database-file", str(file)) == 0
    assert url not in data.settings.read_text()
    assert settings(data).database == url
