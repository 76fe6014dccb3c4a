"""Where metric values live, and whose are forgotten."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.runtime import multiprocess


def test_a_new_run_starts_without_old_values(tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    multiprocess.clear(directory)
    (directory / "counter_1.db").write_bytes(b"")
    (directory / "other").write_bytes(b"")
    multiprocess.clear(directory)
    assert [path.name for path in directory.iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("pid", "left"),
    [(7, ["counter_7.db", "gauge_all_7.db", "gauge_livesum_77.db"]), (os.getpid(), None)],
    ids=["dead", "alive"],
)
def test_only_live_gauges_of_the_dead_are_forgotten(
    tmp_path: Path, pid: int, left: list[str] | None
) -> None:
    names = ["counter_7.db", "gauge_all_7.db", "gauge_livesum_7.db", "gauge_livesum_77.db"]
    names += [f"gauge_livesum_{os.getpid()}.db"] if pid != 7 else []
    for name in names:
        (tmp_path / name).write_bytes(b"")
    multiprocess.forget(tmp_path, pid)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(left or names)


def test_values_live_in_memory_and_leave_it(tmp_path: Path) -> None:
    run, memory = tmp_path / "run", tmp_path / "memory"
    memory.mkdir()
    directory = multiprocess.place(run, memory)
    assert directory.parent == memory
    assert directory.stat().st_mode & 0o077 == 0
    assert multiprocess.place(run, memory) == directory, "the same for every process"
    assert multiprocess.place(tmp_path / "other", memory) != directory
    (directory / "counter_1.db").write_bytes(b"")
    multiprocess.discard(directory)
    assert not directory.exists()


@pytest.mark.parametrize("harm", ["no memory", "open to others", "a link"])
def test_a_place_that_is_not_ours_alone_is_not_used(tmp_path: Path, harm: str) -> None:
    run, memory = tmp_path / "run", tmp_path / "memory"
    if harm != "no memory":
        memory.mkdir()
        directory = multiprocess.place(run, memory)
        if harm == "open to others":
            directory.chmod(0o755)
        else:
            directory.rmdir()
            directory.symlink_to(tmp_path)
    assert multiprocess.place(run, memory) == run / "metrics"


def test_values_of_two_processes_are_one_page(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from proxy.runtime import multiprocess
multiprocess.share(Path({str(tmp_path)!r}))
from proxy.metrics import Metrics
metrics = Metrics()
metrics.refusals.labels("test").inc(3)
"""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program], check=True)
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))  # type: ignore[no-untyped-call]  # the library is untyped
    assert registry.get_sample_value("kubewitness_refusals_total", {"reason": "test"}) == 6


def test_it_is_too_late_once_the_library_is_there(tmp_path: Path) -> None:
    importlib.import_module("prometheus_client")
    with pytest.raises(RuntimeError, match="before its directory was chosen"):
        multiprocess.share(tmp_path)
