"""Which binaries are built, where they are kept, and what a missing tool leads to."""

from pathlib import Path

import pytest

from tests.cluster import binaries, build
from tests.cluster.binaries import BINARIES, Binary


def binary(name: str) -> Binary:
    (found,) = (candidate for candidate in BINARIES if candidate.name == name)
    return found


def test_a_control_plane_is_built_first() -> None:
    names = [each.name for each in BINARIES]
    assert names[:3] == ["etcd", "kube-apiserver", "kubectl"]
    assert len(set(names)) == len(names)


def test_binaries_live_in_the_cache_by_what_they_are_built_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    kubectl, older = (binaries.locate(binary(name)) for name in ("kubectl", "kubectl-older"))
    assert kubectl.is_relative_to(tmp_path / "kubewitness" / "cluster")
    assert kubectl.parent != older.parent


def test_assets_that_are_there_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    (tmp_path / "etcd").touch()
    (tmp_path / "kubelet").touch()
    assert binaries.locate(binary("etcd")) == tmp_path / "etcd"
    assert binaries.locate(binary("kubectl")).parent != tmp_path
    assert binaries.locate(binary("kubelet")).parent != tmp_path


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 linux/arm64", (1, 27)),
        ("go version devel", (0,)),
    ],
)
def test_the_version_of_go_is_read(said: str, version: tuple[int, ...], tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\necho '{said}'\n")
    go.chmod(0o755)
    assert build._go_version(str(go)) == version


def test_a_go_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert build._go_version(str(tmp_path / "none")) == (0,)


def test_what_failed_to_compile_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'x.go:1: wrong' >&2\nexit 1\n")
    go.chmod(0o755)
    pause = binary("pause")
    with pytest.raises(build.BuildError, match=r"building pause failed:\nx\.go:1: wrong"):
        build._build(str(go), pause)
    assert list(binaries.module_directory(pause.module).iterdir()) == []
