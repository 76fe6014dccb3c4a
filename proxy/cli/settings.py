"""`kubewitness settings`: what the server runs with, and what somebody set."""

from typing import Annotated, Final

import typer

from proxy.cli.connection import connect
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.output import Column, Format, show
from proxy.cli.settings_table import as_yaml

_COLUMNS: Final = (
    Column("setting", whole=True),
    Column("value", 10),
    Column("set", 3, 2),
    Column("what it is", 20, 1),
)


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Only this one, or the group: journal.")
    ] = "",
    changed: Annotated[
        bool, typer.Option("--changed", help="Only those that are not at their default.")
    ] = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Show the settings that hold, and which of them somebody set. Of the database only its place.

    They are set by flags of `serve`, KUBEWITNESS_… variables or kubewitness.yaml; each start records
    what is not as it was before: `audit system --action settings.change`.
    """
    items = [
        item
        for item in connect(data_dir, via).get("/settings")["items"]
        if f"{item['name']}.".startswith(f"{name}." if name else "")
        and not (changed and item["default"])
    ]
    rows = [
        (
            item["name"],
            as_yaml(item["value"]),
            "" if item["default"] else "yes",
            item["description"],
        )
        for item in items
    ]
    empty = "Nothing differs from the defaults." if changed else "There is no such setting."
    show(form, items, _COLUMNS, rows, empty=empty)


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(
        "settings",
        epilog="Examples:\n\n"
        "  kubewitness settings --changed\n\n"
        "  kubewitness settings journal -o json",
    )(command)
