"""Metrics of several processes on one page.

prometheus-client decides when it is imported whether values live in memory or in files that other
processes can read. So this module, which must not import it, is called first.
"""

import hashlib
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from proxy.environment import publish, remove

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
MEMORY: Final = Path("/dev/shm")  # noqa: S108  # what is there is checked to be ours
"""A filesystem in memory, on Linux and in containers."""


def place(run: Path, memory: Path = MEMORY) -> Path:
    """The directory of a proxy's values: in memory, or below its directory `run`.

    The files are written through mappings, and a mapping that finds its disk full ends the
    process: the disk that the journal fills is no place for them. The same for every process.
    """
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = run.stat()
    name = hashlib.sha256(f"{found.st_dev} {found.st_ino} {run.absolute()}".encode()).hexdigest()
    directory = memory / f"kubewitness-{os.getuid()}-{name[:16]}"
    try:
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        made = directory.lstat()
    except OSError:
        return run / "metrics"
    # Anybody may make a directory there, also one with this name.
    ours = stat.S_ISDIR(made.st_mode) and made.st_uid == os.getuid()
    return directory if ours and not made.st_mode & 0o077 else run / "metrics"


def discard(directory: Path) -> None:
    """Leave nothing in `directory`, and not the directory either if it is empty then."""
    with suppress(OSError):
        for path in directory.glob("*.db"):
            path.unlink()
        directory.rmdir()


def share(directory: Path) -> None:
    """Keep this process's metric values in `directory`, empty but for what others of ours keep."""
    if "prometheus_client" in sys.modules:
        raise RuntimeError("prometheus_client was imported before its directory was chosen")
    publish(VARIABLE, str(directory))


def clear(directory: Path) -> None:
    """Make `directory`, without values that an earlier run left."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in directory.glob("*.db"):
        path.unlink()


def alone() -> None:
    """Keep this process's metric values in memory, whatever the environment says."""
    remove(VARIABLE)


def forget(directory: Path, pid: int) -> None:
    """Drop the gauges of a process that ended; its counters stay in the sums."""
    if pid != os.getpid():
        for path in directory.glob(f"gauge_live*_{pid}.db"):
            path.unlink(missing_ok=True)
