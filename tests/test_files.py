import stat
from pathlib import Path

import pytest

from proxy.files import create_private, replace_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_created_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_private(path, b"secret")
    assert (path.read_bytes(), mode(path)) == (b"secret", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_never_replaced_by_create(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        create_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_replace_makes_it_private_and_keeps_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    real.chmod(0o644)
    link.symlink_to(real)
    replace_private(link, b"new")
    assert (real.read_bytes(), mode(real), link.is_symlink()) == (b"new", 0o600, True)
    assert sorted(tmp_path.iterdir()) == [link, real]


def test_nothing_is_left_when_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        replace_private(tmp_path / "taken", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
