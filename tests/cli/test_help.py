"""Every command explains itself, with an example."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from proxy.cli.app import app, run


def commands(group: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(words of it, command) for each that a person can run."""
    for name, command in group.commands.items():
        words = (*above, name)
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, words)
        if not hasattr(command, "commands") or command.invoke_without_command:
            yield " ".join(words), command


COMMANDS = list(commands(typer.main.get_group(app)))


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_help_has_a_sentence_an_example_and_a_word_for_each_option(
    words: str, command: Any
) -> None:
    assert str(command.help).strip().splitlines()[0].endswith(".")
    assert f"kubewitness {words}" in (command.epilog or "")
    for parameter in command.params:
        assert getattr(parameter, "help", None), parameter.name


def test_all_of_them_are_looked_at() -> None:
    assert {"init", "serve", "audit search", "audit hold place"} < {words for words, _ in COMMANDS}


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_help_has_no_words_of_python(
    words: str, command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    del command
    assert run([*words.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "<bool>" not in shown
    assert "list[" not in shown
    [usage] = re.findall(rf"Usage: kubewitness {words}(.*?)\n", shown)
    assert usage == usage.upper()
    assert "[[" not in usage
