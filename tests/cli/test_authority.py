"""The authority by command."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def test_show_and_rotate(command: Command) -> None:
    before = command("authority", "show", "-o", "json")
    assert before.code == 0, before.err
    (old,) = json.loads(before.out)
    done = command("authority", "rotate", "--yes")
    assert done.code == 0, done.err
    new, former = (line.split()[0] for line in done.out.splitlines()[1:3])
    assert former == old["fingerprint"] != new
    assert " yes " in done.out.splitlines()[1]
    assert " yes " not in done.out.splitlines()[2]


def test_rotation_asks_first(command: Command) -> None:
    done = command("authority", "rotate")
    assert done.code != 0
    assert len(json.loads(command("authority", "show", "-o", "json").out)) == 1


def test_generate_writes_what_replicas_share(command: Command, tmp_path: Path) -> None:
    done = command("authority", "generate", "-o", str(tmp_path / "keys"), direct=True)
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {
        *("ca.crt", "ca.key", "state.key", "made.json")
    }
    assert "PRIVATE" not in done.out + done.err
    again = command("authority", "generate", "-o", str(tmp_path / "keys"), direct=True)
    assert (again.code, "is there already" in again.err) == (5, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--output DIR or --secret NAME"),
        (("-o", "D", "--secret", "S"), "--output DIR or --secret NAME"),
        (("--secret", "S"), "no service account"),
    ],
)
def test_generate_says_what_is_missing(command: Command, words: tuple[str, ...], said: str) -> None:
    done = command("authority", "generate", *words, direct=True)
    assert (done.code, said in done.err) == (2, True), done.err
