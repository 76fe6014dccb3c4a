"""Debian's packages that a test brings, as root: installed, with patience for a bad network."""

import os
import shutil
import subprocess
import time
from typing import Final

_TRIES: Final = 4
_PAUSE: Final = 10.0
"""Seconds before the second try, and twice as many before each further one."""
_SECONDS: Final = 900


def may_install() -> bool:
    """Whether there is a package manager, and we are root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str) -> str:
    """Install packages, and nothing they only recommend; why that failed, or nothing.

    A name that is not resolved for a moment would else fail a whole run.
    """
    pause, told = _PAUSE, ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(pause)
            pause *= 2
        for command in (("update",), ("install", "-y", "--no-install-recommends", *packages)):
            told = _apt(*command)
        if not told:
            return ""
    return told


def _apt(*command: str) -> str:
    done = subprocess.run(
        ["apt-get", "-qq", "-o", "Acquire::Retries=3", *command],
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode == 0:
        return ""
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
    return f"`apt-get {' '.join(command)}` failed:\n{tail}"
