"""`kubewitness init`: what it makes, and that the second time changes nothing."""

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest
import yaml

from proxy.cli.app import run
from proxy.data_dir import DataDir
from proxy.settings import load


@pytest.fixture
def contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KUBEWITNESS_DATA_DIR", "KUBEWITNESS_CONTEXT", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "config" / "config.yaml"
    monkeypatch.setenv("KUBEWITNESS_CONFIG", str(path))
    return path


def snapshot(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(item.relative_to(path)): (item.stat().st_mtime_ns, item.read_bytes())
        for item in sorted(path.rglob("*"))
        if item.is_file()
    }


def test_everything_is_there_and_private(
    tmp_path: Path, contexts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data"
    assert run(["init", "--data-dir", str(path)]) == 0
    files = {str(item.relative_to(path)) for item in path.rglob("*") if item.is_file()}
    assert files >= {
        *("kubewitness.yaml", "instance", "state.db", "admin/context.yaml"),
        *("pki/ca.crt", "pki/ca.key", "pki/server.crt", "pki/server.key", "pki/state.key"),
        "journal/main/000001-000001.jsonl",
    }
    for item in path.rglob("*"):
        wanted = 0o700 if item.is_dir() else 0o600
        assert stat.S_IMODE(item.stat().st_mode) == wanted, item
    said = capsys.readouterr().err
    assert f"kubewitness serve --data-dir {path}" in said
    record = (path / "journal/main/000001-000001.jsonl").read_text()
    assert '"action":"instance.init"' in record


def test_the_second_time_changes_nothing(
    tmp_path: Path, contexts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data"
    assert run(["init", "--data-dir", str(path)]) == 0
    before, entry = snapshot(path), contexts.read_bytes()
    capsys.readouterr()
    assert run(["init", "--data-dir", str(path), "--listen", "127.0.0.1:1"]) == 0
    assert "nothing was changed" in capsys.readouterr().err
    assert (snapshot(path), contexts.read_bytes()) == (before, entry)


def test_options_are_in_the_settings_file(tmp_path: Path, contexts: Path) -> None:
    path = tmp_path / "data"
    given = ["--listen", "127.0.0.1:1", "--control", "127.0.0.1:2", "--metrics", "127.0.0.1:3"]
    assert run(["init", "--data-dir", str(path), *given, "--tls-names", "a.example,b.example"]) == 0
    settings = load({"data_dir": str(path)})
    assert (settings.listen, settings.control, settings.metrics) == (
        *("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
    )
    assert settings.tls.names == ("a.example", "b.example")
    context = yaml.safe_load(DataDir(path).admin_context.read_text())
    assert context["server"] == "https://127.0.0.1:2"


def test_the_context_file_names_it_and_holds_no_key(tmp_path: Path, contexts: Path) -> None:
    path = tmp_path / "data"
    assert run(["init", "--data-dir", str(path)]) == 0
    document = yaml.safe_load(contexts.read_text())
    assert document == {
        "contexts": [
            {"name": "data", "server": "https://127.0.0.1:9443", "data-dir": str(path)},
        ],
        "current-context": "data",
    }
    assert stat.S_IMODE(contexts.stat().st_mode) == 0o600


def test_a_second_proxy_of_the_same_name_gets_a_number_and_stays_in_the_back(
    tmp_path: Path, contexts: Path
) -> None:
    for parent in ("one", "two"):
        assert run(["init", "--data-dir", str(tmp_path / parent / "data")]) == 0
    document = yaml.safe_load(contexts.read_text())
    assert [item["name"] for item in document["contexts"]] == ["data", "data-2"]
    assert document["current-context"] == "data"


def test_an_interrupted_init_is_finished_by_the_next(tmp_path: Path, contexts: Path) -> None:
    path = tmp_path / "data"
    assert run(["init", "--data-dir", str(path)]) == 0
    authority = (path / "pki" / "ca.crt").read_bytes()
    (path / "kubewitness.yaml").unlink()
    assert run(["init", "--data-dir", str(path)]) == 0
    assert (path / "kubewitness.yaml").exists()
    assert (path / "pki" / "ca.crt").read_bytes() == authority


def test_a_place_that_cannot_be_written_is_an_error_with_advice(
    tmp_path: Path, contexts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["init", "--data-dir", str(tmp_path / "file" / "data")]) == 6
    assert "Choose a directory you may write" in capsys.readouterr().err


def test_a_new_proxy_in_the_place_of_a_former_one_has_its_own_address(
    tmp_path: Path, contexts: Path
) -> None:
    path = tmp_path / "data"
    for control in ("127.0.0.1:1", "127.0.0.1:2"):
        shutil.rmtree(path, ignore_errors=True)
        assert run(["init", "--data-dir", str(path), "--control", control]) == 0
        (entry,) = yaml.safe_load(contexts.read_text())["contexts"]
        assert entry["server"] == f"https://{control}"


def test_what_is_not_changed_is_said(
    tmp_path: Path, contexts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data"
    for control in ("127.0.0.1:1", "127.0.0.1:2"):
        assert run(["init", "--data-dir", str(path), "--control", control]) == 0
    said = capsys.readouterr().err
    assert f"control stays as it is; {path / 'kubewitness.yaml'}" in said
    assert "listen stays" not in said
    assert run(["init", "--data-dir", str(path)]) == 0
    assert "stays as it is" not in capsys.readouterr().err


@pytest.mark.parametrize("present", [None, "mine.txt"])
def test_a_disk_that_is_too_small_keeps_nothing_of_it(
    tmp_path: Path,
    contexts: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    present: str | None,
) -> None:
    path = tmp_path / "data"
    if present:
        path.mkdir()
        (path / present).write_text("stays")

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert run(["init", "--data-dir", str(path)]) == 6
    said = capsys.readouterr().err
    assert "cannot hold a journal" in said
    assert "needs 128 MiB" in said
    left = {item.name for item in path.iterdir()} if path.exists() else None
    assert left == ({present} if present else None)
    assert not contexts.exists()


def test_in_a_container_the_environment_alone_says_the_settings(
    tmp_path: Path, contexts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    monkeypatch.setenv("KUBEWITNESS_LISTEN", "127.0.0.1:1")
    for _ in range(2):
        assert run(["init", "--data-dir", str(path), "--container"]) == 0
    assert not contexts.exists()
    assert load({"data_dir": str(path)}).listen == "127.0.0.1:1"
    monkeypatch.delenv("KUBEWITNESS_LISTEN")
    assert load({"data_dir": str(path)}).listen == "0.0.0.0:8443"


def test_a_container_is_no_copy(
    tmp_path: Path, contexts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data-dir", str(tmp_path / "data"), "--container", "--like", str(tmp_path)]
    assert run(["init", *given]) == 2
    assert "exclude each other" in capsys.readouterr().err
