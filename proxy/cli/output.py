"""What commands print: tables for people, documents for scripts, and never a raw control character.

Text from the audit log is hostile: whoever can send a user agent could otherwise move the cursor,
hide lines or reverse the reading direction. On a terminal tables fit its width and may be cut with
an ellipsis; in a pipe nothing is cut or coloured.
"""

import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TextIO

from proxy.cli.columns import Column, table
from proxy.control.audit.hostile import csv_cell, hidden, visible

__all__ = [
    "Column",
    "Format",
    "csv_cell",
    "say",
    "show",
    "table",
    "terminal_width",
    "to_csv",
    "to_json",
    "to_yaml",
    "visible",
    "write",
]

_PLAIN: Final = re.compile(r"[\x20-\x7e]*")


class Format(StrEnum):
    """Forms of output, `-o`."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"
    CSV = "csv"


def to_json(value: object, *, indent: int | None = 2) -> str:
    """JSON that a terminal shows as it is: what `visible` would escape is a JSON escape."""
    document = json.dumps(value, ensure_ascii=False, indent=indent)
    if _PLAIN.fullmatch(document.replace("\n", "")):
        return document
    # Outside of strings JSON is ASCII, so a replaced character is always inside of one.
    return "".join(
        json.dumps(char)[1:-1] if char != "\n" and hidden(char) else char for char in document
    )


def to_yaml(value: object) -> str:
    """YAML with the same care."""
    import yaml

    hostile = any(char != "\n" and hidden(char) for char in json.dumps(value, ensure_ascii=False))
    # Without unicode PyYAML escapes everything that is not ASCII, which covers all of them.
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=not hostile, width=4096)
    return str(text)


def to_csv(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV as RFC 4180, each cell defused and with control characters escaped."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(titles)
    for row in rows:
        writer.writerow([csv_cell(cell) for cell in row])
    return buffer.getvalue()


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Cells of a line when `stream` (stdout) is a terminal; None in a pipe or a file."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


def write(text: str) -> None:
    """Print `text`, which is already fit for a terminal."""
    out = sys.stdout
    try:
        out.write(text)
    except UnicodeEncodeError:
        # A terminal without UTF-8 still gets every character, as an escape.
        out.write(text.encode("ascii", "backslashreplace").decode("ascii"))
    out.flush()


def say(text: str) -> None:
    """Tell a person something that is not the result: on stderr, so that pipes stay clean."""
    sys.stderr.write(visible(text) + "\n")
    sys.stderr.flush()


def show(
    form: Format,
    items: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    name: str = "name",
    empty: str = "Nothing found.",
) -> None:
    """Print a list of things.

    Args:
        form: which form.
        items: the things as the API gave them, for JSON and YAML.
        columns: of the table.
        rows: its cells, for table and CSV, one row for each item.
        name: member of an item that `-o name` prints.
        empty: said instead of an empty table, on stderr.
    """
    if form is Format.JSON:
        write(to_json(list(items)) + "\n")
    elif form is Format.YAML:
        write(to_yaml(list(items)))
    elif form is Format.NAME:
        write("".join(f"{visible(item[name])}\n" for item in items))
    elif form is Format.CSV:
        write(to_csv([column.title for column in columns], rows))
    elif items:
        write(table(columns, rows, width=terminal_width()))
    elif empty:
        say(empty)
