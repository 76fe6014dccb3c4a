"""Completion scripts for the places where packages put them; `--show-completion` prints the same."""

from pathlib import Path

from typer.completion import get_completion_script  # type: ignore[attr-defined]  # in none of its lists

from tests.deploy.prometheus import DEPLOY

SHELLS = ("bash", "zsh", "fish")
_NAME = "kubewitness"


def scripts() -> dict[Path, str]:
    """Each script with the file it belongs in."""
    return {DEPLOY / "completion" / f"{_NAME}.{shell}": script(shell) for shell in SHELLS}


def script(shell: str) -> str:
    """What defines completion in `shell`."""
    text = get_completion_script(
        prog_name=_NAME, complete_var=f"_{_NAME.upper()}_COMPLETE", shell=shell
    ).strip()
    if shell == "zsh":
        # zsh reads the file when the first completion is asked for: that one wants its answer, too.
        text += f'\n_{_NAME}_completion "$@"'
    return text + "\n"
