"""The root: help, versions, and how errors look."""

import subprocess
import sys
from pathlib import Path

import pytest

from proxy import __version__
from proxy.cli.app import run


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        (["--version"], 0, f"kubewitness {__version__}\n", ""),
        (["--help"], 0, "Commands", ""),
        (["nonsense"], 2, "", "No such command 'nonsense'"),
        (["serve", "--data-dir", "/nowhere"], 4, "", "error: /nowhere is not a kubewitness"),
        (["serve", "--listen", "x"], 2, "", "error: settings (flags or environment): listen:"),
        (["serve", "--workers", "0"], 2, "", "workers: Input should be greater than or equal to 1"),
    ],
)
def test_exit_codes_and_words(
    arguments: list[str],
    code: int,
    out: str,
    err: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == code
    said = capsys.readouterr()
    assert out in said.out
    assert err in said.err
    assert "Traceback" not in said.err


def test_an_error_is_one_line_with_its_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--data-dir", "/nowhere"]) == 4
    assert capsys.readouterr().err == (
        "error: /nowhere is not a kubewitness data directory. "
        "Run `kubewitness init --data-dir /nowhere` first.\n"
    )


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    from proxy.errors import NotFoundError

    with pytest.raises(NotFoundError):
        run(["--debug", "serve", "--data-dir", "/nowhere"])


@pytest.mark.parametrize(
    "command",
    ["init", "serve", "demo", "doctor", "cluster", "kubeconfig", "audit", "context"],
)
def test_each_command_has_help_and_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "Usage: kubewitness " + command in said


def test_the_hidden_worker_is_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "worker" not in capsys.readouterr().out.split("Commands")[1].replace("processes", "")


def test_a_full_disk_is_no_bug_of_ours() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "context", "list", "-o", "json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert "This is a bug" not in done.stderr
    assert "Traceback" not in done.stderr
