"""`kubewitness authority`: the certificate authority behind every credential."""

from typing import Annotated, Any, Final

import typer

from proxy.cli.connection import connect
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.moments import local
from proxy.cli.output import Column, Format, say, show

app = typer.Typer(help="Look at and rotate the certificate authority.", no_args_is_help=True)

_COLUMNS: Final = (
    Column("fingerprint", 16),
    Column("signs", 6),
    Column("since", 10),
    Column("until", 10),
)


@app.command("show", epilog="Example:  kubewitness authority show")
def look(
    form: FormOption = Format.TABLE, data_dir: DataDirOption = None, via: ViaOption = None
) -> None:
    """Show which authority signs, and which are still trusted."""
    _show(connect(data_dir, via).get("/authority"), form)


@app.command(epilog="Example:  kubewitness authority rotate --yes")
def rotate(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Make a new authority; credentials of the present one stay good until they end."""
    if not yes:
        typer.confirm("Make a new authority that signs from now on?", abort=True, err=True)
    found = connect(data_dir, via).post("/authority/rotate")
    _show(found, form)
    say("Kubeconfigs issued from now on trust the new authority too. Those in use stay good.")


def _show(found: dict[str, Any], form: Format) -> None:
    current = found["current"]["fingerprint"]
    items = [{**item, "name": item["fingerprint"]} for item in found["trusted"]]
    rows = [
        (
            item["fingerprint"],
            "yes" if item["fingerprint"] == current else "",
            local(item["notBefore"]),
            local(item["notAfter"]),
        )
        for item in items
    ]
    show(form, items, _COLUMNS, rows)
