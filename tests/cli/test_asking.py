"""Asking first: a yes goes on, anything else ends with nothing done."""

import io

import pytest
import typer

from proxy.cli.asking import confirm
from tests.cli.conftest import Command
from tests.control.plane import Plane


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "later\nn\n"])
def test_anything_but_yes_ends_it(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    with pytest.raises(typer.Abort):
        confirm("Remove it?", yes=False)


def test_yes_goes_on_and_the_question_is_not_part_of_the_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    confirm("Remove \x1b[2Jrob?", yes=False)
    said = capsys.readouterr()
    # A blank stays on stdout: what input() writes before the cursor.
    assert (said.out.strip(), "Remove \\x1b[2Jrob?" in said.err) == ("", True)
    confirm("Remove it?", yes=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "words",
    [("user", "remove"), ("user", "disable"), ("group", "remove"), ("project", "remove"), ("role", "remove")],
)  # fmt: skip
def test_nobody_is_asked_about_what_is_not_there(command: Command, words: tuple[str, str]) -> None:
    done = command(*words, "none")
    assert (done.code, "'none'" in done.err, "[y/N]" in done.err) == (4, True, False), done.err


def test_about_what_is_there_everybody_is_asked(plane: Plane, command: Command) -> None:
    plane.client().post("/groups", {"name": "dev"})
    done = command("group", "remove", "dev")
    assert (done.code, "Remove group dev? [y/N]" in done.err) == (1, True)
    assert command("group", "show", "dev", "-o", "name").out == "dev\n"
