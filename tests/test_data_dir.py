"""The data directory: its modes, its lock, and what it says to people."""

import os
import stat
from pathlib import Path

import pytest

from proxy.data_dir import DataDir
from proxy.errors import ConflictError, NotFoundError, UnavailableError


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    found = DataDir(tmp_path / "a" / "data")
    found.create()
    return found


def test_it_is_closed_to_everybody_else(data: DataDir) -> None:
    for path in (data.path, data.pki, data.journal, data.admin, data.run):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_one_that_was_open_is_closed(data: DataDir) -> None:
    data.path.chmod(0o755)
    data.create()
    assert stat.S_IMODE(data.path.stat().st_mode) == 0o700


def test_without_init_it_says_what_to_run(data: DataDir) -> None:
    with pytest.raises(NotFoundError, match=f"kubewitness init --data-dir {data.path}"):
        data.require()
    data.settings.write_text("")
    data.require()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="--data-dir"):
        DataDir(tmp_path / "file" / "data").create()


def test_one_at_a_time(data: DataDir) -> None:
    before = data.in_use
    with data.exclusively():
        during = data.in_use
        with pytest.raises(ConflictError, match=f"process {os.getpid()}"), data.exclusively():
            pass
    assert (before, during, data.in_use) == (False, True, False)
    with data.exclusively():
        pass
