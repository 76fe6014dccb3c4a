"""What commands that change something ask of a person: why, and whether they are sure."""

from typing import Annotated

import typer

from proxy.cli.output import visible

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it is recorded.", show_default=False)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(question: str, *, yes: bool) -> None:
    """Ask on stderr unless `yes`; anything but a yes ends the command with nothing done."""
    if not yes:
        typer.confirm(visible(question), abort=True, err=True)
