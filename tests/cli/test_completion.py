"""Names for the shell, and silence when nobody can be asked."""

import subprocess
import sys

import pytest

from tests.cli.conftest import Command
from tests.control.plane import Plane


def complete(plane: Plane, words: str) -> list[str]:
    environment = {
        "_KUBEWITNESS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
        "KUBEWITNESS_DATA_DIR": str(plane.data.path),
        "HOME": str(plane.data.path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "proxy"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("kubewitness cluster check ", ["prod", "test"]),
        ("kubewitness cluster remove p", ["prod"]),
        ("kubewitness audit search --user a", ["admin"]),
        ("kubewitness audit search --class h", ["health"]),
        ("kubewitness audit search --kind s", ["system"]),
        ("kubewitness user show r", ["rob"]),
        ("kubewitness kubeconfig issue r", ["rob"]),
        ("kubewitness grant add --role project-", ["project-admin", "project-read-only"]),
        ("kubewitness group show ", ["dev"]),
        ("kubewitness project add shop --cluster t", ["test"]),
        ("kubewitness project add shop --cluster test:", []),
        ("kubewitness token add ci --permission audit.s", ["audit.system"]),
        ("kubewitness access explain rob port", ["port-forward"]),
    ],
)
def test_names_are_real_ones(prod: Plane, words: str, offered: list[str]) -> None:
    prod.client().post("/groups", {"name": "dev"})
    prod.client().post("/users", {"name": "rob", "groups": ["dev"]})
    assert complete(prod, words) == offered


def test_silence_when_the_server_does_not_run(prod: Plane, command: Command) -> None:
    del command
    prod.stop()
    assert complete(prod, "kubewitness cluster check ") == []
