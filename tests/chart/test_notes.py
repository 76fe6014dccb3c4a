"""What Helm prints at the end, and the chart's README: commands that are there, the last one a kubeconfig."""

import re
import shlex
import subprocess
from typing import Any

import pytest
import typer

from proxy.cli.app import app
from tests.chart import helm
from tests.chart.helm import CHART
from tests.chart.matrix import MATRIX
from tests.chart.writing import VARIANTS, manifest_text


def blocks(text: str) -> list[str]:
    """Commands: indented lines, a block for each run of them."""
    found = re.findall(r"(?:^  \S.*\n?)+", text, re.MULTILINE)
    return ["\n".join(line.strip() for line in block.splitlines()) for block in found]


def check_command(words: list[str]) -> None:
    """That `kubewitness WORDS` is a command with these options."""
    command: Any = typer.main.get_group(app)
    while words and hasattr(command, "commands") and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands"), f"{words} is no command"
    known = {name for parameter in command.params for name in parameter.opts}
    for word in words:
        if word.startswith("-") and word != "-":
            assert word in known, f"{command.name} has no {word}"


def ours(text: str) -> list[list[str]]:
    """The words of each `kubewitness …` of a shell text."""
    nouns = "authority|kubeconfig|cluster|audit|db"
    found = re.findall(rf"(?:-- |^ *|`)kubewitness ((?:{nouns}) [^\n)<>`]*)", text, re.MULTILINE)
    return [shlex.split(each) for each in found]


@pytest.mark.parametrize("name", MATRIX)
def test_notes_end_with_a_kubeconfig(name: str) -> None:
    *_, last = blocks(helm.notes(MATRIX[name]))
    lines = last.splitlines()
    assert lines[-1].startswith("(umask 077; kubectl --namespace kubewitness exec statefulset/")
    assert lines[-1].endswith("--output - > alice.kubeconfig)")
    # With a name of its own the address is known; everywhere else it is looked up or forwarded.
    has_name = "public" in MATRIX[name]
    assert ("--server" in lines[-1]) == (not has_name)
    if '"$ADDRESS"' in lines[-1]:
        assert lines[0].startswith("ADDRESS=$(")
    subprocess.run(["bash", "-n"], input=last, text=True, check=True)


@pytest.mark.parametrize("name", MATRIX)
def test_commands_in_notes_are_there(name: str) -> None:
    text = helm.notes(MATRIX[name])
    found = ours(text)
    assert [words[:2] for words in found][-1] == ["kubeconfig", "issue"]
    for words in found:
        check_command(words)


def test_commands_in_the_readme_are_there() -> None:
    found = ours((CHART / "README.md").read_text())
    assert found
    for words in found:
        check_command([word.strip("`") for word in words])


def test_notes_say_what_is_missing() -> None:
    assert "No group may be impersonated" in helm.notes({})
    assert "No group" not in helm.notes(MATRIX["replicas"])
    assert "impersonation.roles.create=true" in helm.notes(MATRIX["replicas"])
    assert "No group but those of grants" in helm.notes(MATRIX["grants"])
    for name in ("grants", "everything", "nothing-optional"):
        assert "impersonation.roles" not in helm.notes(MATRIX[name]), name
    assert "kubewitness cluster add NAME" in helm.notes(MATRIX["nothing-optional"])
    assert "Secret kubewitness-keys" in helm.notes({})
    assert "-keys" not in helm.notes(MATRIX["everything"])


@pytest.mark.parametrize("name", VARIANTS)
def test_steps_of_the_plain_manifests_name_their_file(name: str) -> None:
    head = manifest_text(name).partition("---")[0]
    assert f"kubectl apply -f deploy/manifests/{name}" in head
