"""Which server a command speaks to, and what it says when nothing answers."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command
from tests.control.plane import Plane


@pytest.fixture
def contexts(
    plane: Plane, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    del command  # it cleans the environment first
    entry = yaml.safe_load(plane.data.admin_context.read_text())
    document = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "data-dir": str(plane.data.path)},
            {**entry, "name": "there", "data-dir": ""},
            {"name": "broken", "server": "https://x:1"},
        ],
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBEWITNESS_CONFIG", str(path))
    return path


def test_list_use_and_show(contexts: Path, command: Command) -> None:
    out = command("context", "list", direct=True).out
    assert [line.split()[:2] for line in out.splitlines()][1] == ["*", "here"]
    assert command("context", "use", "there", direct=True).code == 0
    shown = yaml.safe_load(command("context", "show", direct=True).out)
    assert (shown["name"], shown["current"]) == ("there", True)
    assert command("context", "use", "nowhere", direct=True).code == 4
    # Choosing keeps the credentials that were there, and shows none of them.
    assert len(yaml.safe_load(contexts.read_text())["contexts"]) == 3
    assert contexts.stat().st_mode & 0o777 == 0o600
    for form in ("json", "yaml"):
        assert "client-key" not in command("context", "list", "-o", form, direct=True).out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 0, ""),
        (["--via", "there"], 0, ""),
        (["--via", "broken"], 2, "ca-data"),
        (["--via", "nowhere"], 4, "here, there"),
        (["--data-dir", "/nowhere"], 4, "not a kubewitness data directory"),
    ],
)
def test_choosing(
    contexts: Path, command: Command, arguments: list[str], code: int, said: str
) -> None:
    del contexts
    done = command("cluster", "list", *arguments, direct=True)
    assert done.code == code, done.err
    assert said in done.err


def test_an_option_wins_over_the_environment(
    contexts: Path, command: Command, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    del contexts
    monkeypatch.setenv("KUBEWITNESS_CONTEXT", "broken")
    assert command("cluster", "list").code == 0
    monkeypatch.delenv("KUBEWITNESS_CONTEXT")
    monkeypatch.setenv("KUBEWITNESS_DATA_DIR", "/nowhere")
    assert command("cluster", "list", "--via", "there", direct=True).code == 0
    both = command(
        "cluster", "list", "--via", "there", "--data-dir", str(plane.data.path), direct=True
    )
    assert both.code == 2
    assert "give one of them" in both.err


def test_nothing_chosen(command: Command) -> None:
    done = command("cluster", "list", direct=True)
    assert done.code == 4
    assert "--data-dir" in done.err


def test_a_server_that_does_not_run_says_how_to_start_it(plane: Plane, command: Command) -> None:
    plane.stop()
    done = command("cluster", "list")
    assert done.code == 6
    assert f"kubewitness serve --data-dir {plane.data.path}" in done.err


def test_as_a_process_of_its_own(plane: Plane, command: Command) -> None:
    del command
    plane.client().post("/clusters", {"name": "prod", "inCluster": True})
    kubewitness = [sys.executable, "-m", "proxy"]
    where = ["--data-dir", str(plane.data.path)]
    done = subprocess.run(
        [*kubewitness, "cluster", "list", "-o", "name", *where], check=False, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"prod\n", b"")
    done = subprocess.run([*kubewitness, "cluster", "check", "none", *where], check=False, capture_output=True)
    assert done.returncode == 4
    assert done.stdout == b""
    assert b"There is no cluster 'none'" in done.stderr
    assert b"Traceback" not in done.stderr
