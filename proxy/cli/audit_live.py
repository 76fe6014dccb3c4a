"""Following the log: one line a record, in columns that stay where they are."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from proxy.cli.output import Column, Format, say, table, terminal_width, to_json, visible, write
from proxy.errors import InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from proxy.cli.client import Client

Record = Mapping[str, Any]


class Printer:
    """Prints one record at a time.

    Args:
        form: table, JSON or name; raises InvalidInputError for the others, which need a list.
        columns: of the table, with the cells that `widths` keeps for each.
        row: the cells of a record.
    """

    def __init__(
        self,
        form: Format,
        columns: Sequence[Column],
        widths: Sequence[int],
        row: Callable[[Record], Sequence[str]],
    ) -> None:
        if form not in (Format.TABLE, Format.JSON, Format.NAME):
            raise InvalidInputError(
                f"-f does not go with -o {form}.", hint="Use table, json or name."
            )
        self._form = form
        self._columns = columns
        self._widths = widths
        self._row = row
        self._headed = False

    def line(self, item: Record) -> None:
        """Print one."""
        if self._form is Format.JSON:
            write(to_json(item, indent=None) + "\n")
        elif self._form is Format.NAME:
            write(f"{visible(item.get('auditID', ''))}\n")
        else:
            row, header = self._row(item), not self._headed
            write(
                table(
                    self._columns, [row], width=terminal_width(), header=header, floor=self._widths
                )
            )
            self._headed = True


def follow(client: "Client", query: Mapping[str, object], printer: Printer, command: str) -> None:
    """Print what is recorded, as it is, until the reader interrupts.

    Raises UnavailableError when the server ends the stream; `command` starts it again.
    """
    try:
        for kind, item in client.events("/audit/tail", query):
            if kind == "missed":
                say(f"{item['count']} records came too fast to be shown; a search finds them.")
            else:
                printer.line(item)
    except KeyboardInterrupt:
        return
    raise UnavailableError("The server ended the stream.", hint=f"Start `{command}` again.")
