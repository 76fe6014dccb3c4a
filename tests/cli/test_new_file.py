"""Where `-o` names a file, a secret ends up in that one and in no other."""

from pathlib import Path

import pytest

from proxy.cli.new_file import new_file, require_no_form
from proxy.errors import InvalidInputError
from tests.cli.conftest import Command


@pytest.mark.parametrize("form", ["json", "yaml", "name", "csv", "table"])
def test_a_form_of_output_is_no_file(form: str) -> None:
    with pytest.raises(InvalidInputError, match="-o is the file to write here"):
        require_no_form(Path(form))
    require_no_form(Path("x") / form)
    require_no_form(Path(f"{form}.token"))


def test_a_new_file_in_a_directory_that_is_there(tmp_path: Path) -> None:
    assert new_file(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "a").touch()
    with pytest.raises(InvalidInputError, match="is there already"):
        new_file(tmp_path / "a")
    with pytest.raises(InvalidInputError, match="There is no directory"):
        new_file(tmp_path / "b" / "c")


@pytest.mark.parametrize(
    "words",
    [
        ("token", "add", "ci", "--permission", "audit.look", "--expires", "1d"),
        ("kubeconfig", "issue", "ci", "--cluster", "prod"),
        ("context", "issue", "ci", "--role", "auditor"),
    ],
)
def test_no_credential_is_written_to_a_file_called_json(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(*words, "-o", "json")
    assert done.code == 2
    assert "-o is the file to write here" in done.err
    assert not (tmp_path / "json").exists()
