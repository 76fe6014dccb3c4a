"""Metrics of several processes on one page.

prometheus-client decides when it is imported whether values live in memory or in files that other
processes can read. So this module, which must not import it, is called first.
"""

import os
import sys
from pathlib import Path
from typing import Final

from proxy.environment import publish, remove

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


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
