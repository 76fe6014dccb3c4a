"""What README.md says is what the code does."""

import re

import pytest

from proxy.cli.app import run
from proxy.cli.settings_table import rows
from tests.write_tables import README, ROOT, metrics, readme_text


def test_the_tables_are_those_of_the_code() -> None:
    assert README.read_text() == readme_text(), "run `make docs`"


@pytest.mark.parametrize("marker", ["settings", "metrics"])
def test_the_tables_have_their_place(marker: str) -> None:
    assert f"<!-- {marker} -->" in README.read_text()
    assert f"<!-- /{marker} -->" in README.read_text()


def test_every_setting_is_documented() -> None:
    text = README.read_text()
    assert [row.name for row in rows() if f"| `{row.name}` |" not in text] == []


def test_every_metric_is_documented() -> None:
    text = README.read_text()
    names = [name for name, *_ in metrics()]
    assert len(names) > 15
    assert [name for name in names if f"| `{name}` |" not in text] == []


def commands() -> list[str]:
    """Every `kubewitness …` line of a code block, without its comment."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line.startswith("kubewitness ")})


@pytest.mark.parametrize("line", commands())
def test_every_command_it_shows_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = line.split()[1:]
    nouns = []
    for word in words:
        if word.startswith("-") or not word.isalpha() or not word.islower():
            break
        nouns.append(word)
    # Deepest first: what follows a command is an argument.
    while nouns and run([*nouns, "--help"]) != 0:
        nouns.pop()
    said = capsys.readouterr().out
    assert nouns, line
    for flag in re.findall(r"--[a-z-]+", line):
        assert flag in said, f"{flag} of: {line}"


@pytest.mark.parametrize("page", ["RESULTS.md", "DATABASE.md"])
def test_the_speed_is_what_was_measured_last(page: str) -> None:
    measured = (ROOT / "tests" / "bench" / page).read_text()
    found = re.findall(
        r"^\| .+ \| ([\d.,]+).* \| (holds|\*\*missed\*\*) \|$", measured, re.MULTILINE
    )
    assert len(found) >= 4
    speed = README.read_text().partition("\n## Speed\n")[2].partition("\n## ")[0]
    said = re.findall(r"[\d.,]*\d", speed)
    assert [figure for figure, _ in found if figure not in said] == []
    if page == "RESULTS.md":
        assert ("**missed**" in speed) == any(judged != "holds" for _, judged in found)


def test_every_make_target_it_shows_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`?make ([a-z0-9]+)", README.read_text()))
    assert targets
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
