"""Files that a credential is written to, where `-o` names a file and not a form of output."""

from pathlib import Path

from proxy.cli.output import Format
from proxy.errors import InvalidInputError


def require_no_form(given: Path) -> None:
    """Refuse `-o json` where a file is meant: a secret would lie in a file called json."""
    if str(given) in set(Format):
        raise InvalidInputError(
            f"-o is the file to write here, and {str(given)!r} is a form of output elsewhere.",
            hint="Name a file that is called otherwise.",
        )


def new_file(given: Path) -> Path:
    """The file that `-o` names; raises InvalidInputError before anything is issued if it cannot be."""
    require_no_form(given)
    file = given.expanduser()
    if file.exists():
        raise InvalidInputError(
            f"{file} is there already.", hint="Name a new file, or remove that one first."
        )
    if not file.parent.is_dir():
        raise InvalidInputError(f"There is no directory {file.parent}.")
    return file
