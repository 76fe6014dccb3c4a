"""Every command explains itself, with an example."""

from collections.abc import Iterator

import pytest
import typer

from proxy.cli.app import app


def commands(group: object, above: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """(words of it, command) for each that a person can run."""
    for name, command in group.commands.items():  # type: ignore[attr-defined]
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
    words: str, command: object
) -> None:
    assert str(command.help).strip().splitlines()[0].endswith(".")  # type: ignore[attr-defined]
    assert f"kubewitness {words}" in (command.epilog or "")  # type: ignore[attr-defined]
    for parameter in command.params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None), parameter.name


def test_all_of_them_are_looked_at() -> None:
    assert {"init", "serve", "audit search", "audit hold place"} < {words for words, _ in COMMANDS}
