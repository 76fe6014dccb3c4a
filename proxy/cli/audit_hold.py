"""`kubewitness audit hold`: records that must stay, whatever their age."""

from typing import Annotated, Any, Final

import typer

from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.moments import local, to_api
from proxy.cli.output import Column, Format, show, visible

app = typer.Typer(help="Keep records that must stay, whatever their age.", no_args_is_help=True)

_COLUMNS: Final = (
    Column("id", whole=True),
    Column("since", 10),
    Column("until", 10),
    Column("placed by", 8),
    Column("released by", 8),
    Column("reason", 10, 1),
)
ReasonOption = Annotated[str, typer.Option(help="Why; it becomes part of the record.")]


@app.command(
    epilog="Example:  kubewitness audit hold place --since 2026-01-01 --until 2026-04-01 "
    "--reason 'case 7'"
)
def place(
    reason: ReasonOption,
    since: Annotated[
        str | None, typer.Option(help="From this time on; default: from the beginning.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="To before this time; default: without an end.")
    ] = None,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Keep every record of a span of time until the hold is released."""
    body = {
        "reason": reason,
        "since": to_api(since, "--since") or "",
        "until": to_api(until, "--until") or "",
    }
    _show([connect(data_dir, via).post("/legal-holds", body)], form)


@app.command(epilog="Example:  kubewitness audit hold release 3f0c9b2a11de --reason 'closed'")
def release(
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `audit hold list` shows it.")],
    reason: ReasonOption,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """End a hold; somebody else than who placed it has to."""
    found = connect(data_dir, via).post(
        path_of("legal-holds", identity, "release"), {"reason": reason}
    )
    _show([found], form)


@app.command("list", epilog="Example:  kubewitness audit hold list")
def list_holds(
    form: FormOption = Format.TABLE, data_dir: DataDirOption = None, via: ViaOption = None
) -> None:
    """List the holds, released ones too."""
    items = connect(data_dir, via).get("/legal-holds")["items"]
    _show(items, form, empty="No legal holds.")


def _show(items: list[dict[str, Any]], form: Format, *, empty: str = "") -> None:
    rows = [
        (
            visible(item["id"]),
            local(item["since"]),
            local(item["until"]),
            visible(item["placedBy"]),
            visible(item["releasedBy"]),
            visible(item["reason"]),
        )
        for item in items
    ]
    named = [{**item, "name": item["id"]} for item in items]
    show(form, named, _COLUMNS, rows, empty=empty)
