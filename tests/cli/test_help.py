"""Every command explains itself, with an example."""

import pytest
import typer

from proxy.cli import audit, cluster, context, credential, kubeconfig

COMMANDS = [
    (noun, command)
    for noun, app in (
        ("audit", audit.app),
        ("cluster", cluster.app),
        ("context", context.app),
        ("kubeconfig", kubeconfig.app),
        ("credential", credential.app),
    )
    for command in typer.main.get_group(app).commands.values()  # type: ignore[attr-defined]
]


@pytest.mark.parametrize(
    ("noun", "command"), COMMANDS, ids=lambda item: getattr(item, "name", item)
)
def test_help_has_a_sentence_an_example_and_a_word_for_each_option(
    noun: str, command: object
) -> None:
    assert str(command.help).strip().splitlines()[0].endswith(".")  # type: ignore[attr-defined]
    epilog = command.epilog or ""  # type: ignore[attr-defined]
    assert f"kubewitness {noun} {command.name}" in epilog or noun == "credential"  # type: ignore[attr-defined]
    for parameter in command.params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None), parameter.name
