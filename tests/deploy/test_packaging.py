"""What people install: the wheel has everything, is the same each time, and works by itself."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy import __version__
from tests.deploy.completion import scripts
from tests.deploy.prometheus import ROOT

HERE = Path(sys.executable).parent
EPOCH = "1767225600"
"""2026-01-01, as a release would take it from its commit."""


def build(kind: str, source: Path, into: Path) -> Path:
    """A wheel or an sdist of `source`, made as `pip` and `python -m build` make it."""
    subprocess.run(
        [HERE / "hatchling", "build", "-t", kind, "-d", into],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=60,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
    )
    (made,) = into.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


def files() -> Iterator[str]:
    """Everything below proxy/ that is not made by running it."""
    for path in (ROOT / "proxy").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            yield path.relative_to(ROOT).as_posix()


def test_two_wheels_are_the_same(wheel: Path, tmp_path: Path) -> None:
    assert digest(build("wheel", ROOT, tmp_path)) == digest(wheel)


def test_two_sdists_are_the_same(sdist: Path, tmp_path: Path) -> None:
    assert digest(build("sdist", ROOT, tmp_path)) == digest(sdist)


def test_the_sdist_makes_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert digest(build("wheel", source, tmp_path / "dist")) == digest(wheel)


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    inside = {name for name in names if name.startswith("proxy/")}
    assert inside == set(files())
    assert any("/migrations/versions/" in name for name in inside)
    data = f"kubewitness-{__version__}.data/data/share"
    assert {name for name in names - inside if ".dist-info/" not in name} == {
        f"{data}/bash-completion/completions/kubewitness",
        f"{data}/zsh/site-functions/_kubewitness",
        f"{data}/fish/vendor_completions.d/kubewitness.fish",
    }


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; its dependencies are those of this one."""
    directory = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    python = directory / "bin" / "python"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", python, "install", "-q"),
            *("--no-index", "--no-deps", "--disable-pip-version-check", wheel),
        ],
        check=True,
        timeout=60,
    )
    (site,) = directory.glob("lib/python3*/site-packages")
    # Not followed further: what is installed here for development stays out of sight.
    (here,) = HERE.parent.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(f"{here}\n")
    return directory


def run(program: Path, *arguments: str, **environment: str) -> str:
    """What a command says; away from the source tree."""
    done = subprocess.run(
        [program, *arguments],
        check=False,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(program.parent), "LC_ALL": "C.UTF-8"}
        | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_installed_command_is_its_own(installed: Path) -> None:
    where = run(installed / "bin" / "python", "-c", "import proxy; print(proxy.__file__)")
    assert where.startswith(str(installed))
    assert run(installed / "bin" / "kubewitness", "--version") == f"kubewitness {__version__}\n"
    assert "kubeconfig" in run(installed / "bin" / "kubewitness", "--help")


def test_the_installed_command_makes_a_data_directory(installed: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    said = run(
        installed / "bin" / "kubewitness",
        *("init", "--data-dir", str(data)),
        KUBEWITNESS_JOURNAL_UNSAFE_FILESYSTEM="allow",
        KUBEWITNESS_CONFIG=str(tmp_path / "contexts.yaml"),
    )
    assert "Initialised" in said
    # The tables come from the migrations inside the wheel.
    assert {path.name for path in data.iterdir()} >= {"pki", "kubewitness.yaml", "state.db"}


def test_the_bill_of_materials_names_everything_that_is_pinned(
    installed: Path, tmp_path: Path
) -> None:
    status = tmp_path / "status"
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u13\n"
        "Description: of\n several lines\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    )
    command = (str(ROOT / "deploy" / "sbom.py"), "--dpkg", str(status))
    said = run(installed / "bin" / "python", *command)
    assert run(installed / "bin" / "python", *command) == said
    found = json.loads(said)
    assert found["metadata"]["component"]["version"] == __version__
    named = {part["purl"]: part for part in found["components"]}
    pinned = re.findall(
        r"^([a-z0-9-]+)==([^ ]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE
    )
    # Only needed on Windows.
    python = {f"pkg:pypi/{name}@{version}" for name, version in pinned if name != "colorama"}
    assert set(named) == python | {"pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64"}
    assert [purl for purl in python if not named[purl]["licenses"]] == []
    depends = {item["ref"]: item["dependsOn"] for item in found["dependencies"]}
    needed = {ref for refs in depends.values() for ref in refs}
    assert python == needed, "each is there because something needs it"


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.suffix[1:])
def test_completion_scripts_are_those_the_command_shows(path: Path) -> None:
    assert path.read_text() == scripts()[path], "run `make docs`"


def test_completion_works_in_bash(installed: Path) -> None:
    script = installed / "share" / "bash-completion" / "completions" / "kubewitness"
    completed = (
        f"source {script}; COMP_WORDS=(kubewitness audit se); COMP_CWORD=2; "
        '_kubewitness_completion kubewitness; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{installed / 'bin'}:{os.environ['PATH']}"
    assert run(Path("/bin/bash"), "-c", completed, PATH=path).split() == ["search"]
