"""What commands that change something ask of a person: why, and whether they are sure."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.output import visible
from proxy.errors import DeniedError

if TYPE_CHECKING:
    from proxy.cli.client import Client

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it is recorded.", show_default=False)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(question: str, *, yes: bool) -> None:
    """Ask on stderr unless `yes`; anything but a yes ends the command with nothing done."""
    if not yes:
        typer.confirm(visible(question), abort=True, err=True)


def confirm_about(client: "Client", path: str, question: str, *, yes: bool) -> None:
    """The same about a thing of the API; raises NotFoundError instead of asking when it is not there."""
    if not yes:
        # Who may change it and not look at it is asked all the same.
        with suppress(DeniedError):
            client.get(path)
    confirm(question, yes=yes)
