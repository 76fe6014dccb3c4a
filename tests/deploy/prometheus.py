"""Prometheus and promtool, the real ones: of this machine, or out of Debian's package.

The package is unpacked beside the test cluster's programs, not installed: any user may do that.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.cluster.binaries import cache_root

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yaml"
_SECONDS = 300


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`.

    Raises:
        RuntimeError: it is neither on this machine nor can it be had.
    """
    unpacked = cache_root().parent / "prometheus" / "usr" / "bin" / name
    found = shutil.which(name) or (str(unpacked) if unpacked.exists() else None)
    if found is None:
        _unpack(unpacked.parents[2])
        found = str(unpacked)
    return found


def promtool(*arguments: str | Path) -> str:
    """What `promtool` says; an AssertionError with all of it when it does not agree."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _unpack(into: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise RuntimeError("prometheus and promtool are missing: install Prometheus")
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent) as name:
        directory = Path(name)
        # Without lists of packages there is nothing to download; only root can fetch them.
        for pause in (0, 0, 15, 30):
            time.sleep(pause)
            if _download(directory) or os.geteuid() != 0:
                break
            subprocess.run(["apt-get", "update", "-qq"], check=False, timeout=_SECONDS)
        packages = list(directory.glob("*.deb"))
        if not packages:
            raise RuntimeError("Debian's package `prometheus` cannot be had: install it first")
        subprocess.run(["dpkg-deb", "-x", packages[0], directory / "tree"], check=True, timeout=60)
        (directory / "tree").rename(into)


def _download(into: Path) -> bool:
    done = subprocess.run(
        ["apt-get", "download", "-qq", "prometheus"],
        check=False,
        cwd=into,
        capture_output=True,
        timeout=_SECONDS,
    )
    return done.returncode == 0
