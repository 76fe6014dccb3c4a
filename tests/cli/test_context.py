"""Which server a command speaks to, and what it says when nothing answers."""

from pathlib import Path

import yaml

from tests.cli.conftest import Command


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
