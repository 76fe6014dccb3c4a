"""Our image, as deploy/Dockerfile makes it: how large it is, and that it runs with as little as it needs."""

import json
import os
import re
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import image

pytestmark = pytest.mark.timeout(1200)
LARGEST = 120e6
"""Bytes over its base."""
START = 2.0
"""Seconds until it is ready."""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    image.archive()
    with image.mounted() as found:
        yield found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume that belongs to its user, as a claim with fsGroup does."""
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, image.UID, image.UID)
    return volume


def run(root: Path, data: Path, *command: str) -> str:
    """What a command in the image says."""
    done = subprocess.run(
        image.within(root, data, *command),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_adds_little_to_its_base() -> None:
    assert image.size().over_base <= LARGEST


def test_it_holds_what_it_is_made_of(root: Path) -> None:
    found = json.loads((root / "opt/kubewitness/sbom.cdx.json").read_text())
    names = {part["name"] for part in found["components"]}
    assert {"uvloop", "cryptography", "libc6"} <= names


def test_nothing_in_it_can_be_written_to(root: Path, data: Path) -> None:
    said = run(root, data, "python", "-c", _TRY)
    assert sorted(said.split()) == ["/tmp", "/var/lib/kubewitness"]


# Where a file can be made, and whether there is any right left.
_TRY = """
import os
assert os.getuid() == os.getgid() == 65532 and not os.getgroups()
status = open("/proc/self/status").read()
assert "CapEff:\\t0000000000000000" in status
for directory, names, files in os.walk("/"):
    names[:] = [] if directory in ("/proc", "/sys", "/dev") else names
    try:
        open(directory + "/probe", "x").close()
        print(directory)
    except OSError:
        pass
"""


def test_it_starts_at_once_and_ends_when_asked(root: Path, data: Path) -> None:
    assert "Initialised" in run(root, data, "kubewitness", "init", "--container")
    run(root, data, "kubewitness", "doctor", "--data-dir", "/var/lib/kubewitness")
    times = []
    for _ in range(3):
        seconds, code = once(root, data)
        assert code == 0
        times.append(seconds)
    print("seconds until it is ready:", *(f"{seconds:.2f}" for seconds in times))
    assert statistics.median(times) <= START, times


def once(root: Path, data: Path) -> tuple[float, int]:
    """Seconds until it says that it is ready, and how it ended after SIGTERM."""
    ports = [f"--{name}=127.0.0.1:0" for name in ("listen", "control", "metrics")]
    began = time.monotonic()
    serve = subprocess.Popen(
        image.within(root, data, "kubewitness", "serve", *ports),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert serve.stdout is not None
    lines = []
    try:
        for line in serve.stdout:
            lines.append(line)
            found = re.search(r"http://(\S+)/metrics", line)
            if found is not None:
                with urllib.request.urlopen(f"http://{found[1]}/readyz", timeout=5) as answer:
                    assert answer.read() == b"ok\n"
                break
        else:
            pytest.fail("".join(lines))
        seconds = time.monotonic() - began
    finally:
        serve.terminate()
        with serve.stdout:
            serve.stdout.read()
        code = serve.wait(30)
    return seconds, code
