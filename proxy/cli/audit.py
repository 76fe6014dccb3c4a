"""`kubewitness audit`: look at what was recorded. Every look is itself recorded first."""

from typing import Annotated, Any, Final

import typer

from proxy.cli import audit_hold, audit_retain
from proxy.cli import audit_pages as pages
from proxy.cli.audit_counts import stats, who
from proxy.cli.audit_export import export
from proxy.cli.audit_filter import Query, with_filter
from proxy.cli.audit_live import Printer, follow
from proxy.cli.audit_suspicious import suspicious
from proxy.cli.audit_system import system
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.looking import look, say_what_is_missing
from proxy.cli.output import Format, show, to_json, to_yaml, write

app = typer.Typer(help="Search, follow and export the audit log.", no_args_is_help=True)

_WIDTHS: Final = (8, 14, 12, 6, 36, 14, 10, 8, 16)
"""Cells that `tail -f` keeps for each column."""
TextArgument = Annotated[
    str, typer.Argument(metavar="[TEXT]", help="Text in the URI, user agent, name or user.")
]


def search(
    query: Query,
    text: TextArgument = "",
    form: FormOption = Format.TABLE,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="So many calls at most.")] = 50,
    oldest: Annotated[bool, typer.Option("--oldest", help="Oldest first.")] = False,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Search the calls that were recorded, newest first."""
    client = connect(data_dir, via)
    if text:
        query["text"] = text
    found = look(client, "/audit/calls", query | {"oldest": oldest}, limit)
    _show_calls(form, found.items)
    say_what_is_missing(found, limit)


def _show_calls(form: Format, items: list[dict[str, Any]]) -> None:
    rows = [pages.row(item) for item in items]
    empty = "No calls found. Discovery and health calls are shown with --all."
    show(form, items, pages.COLUMNS, rows, name="auditID", empty=empty)


def tail(
    query: Query,
    text: TextArgument = "",
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with each new call.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-l", min=0, max=1000, help="Calls of before to begin with.")
    ] = 10,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Show the last calls, oldest first; with -f also each new one as it happens."""
    client = connect(data_dir, via)
    if text:
        query["text"] = text
    if not following:
        _show_calls(form, look(client, "/audit/calls", query, lines).items[::-1])
        return
    printer = Printer(form, pages.COLUMNS, _WIDTHS, pages.row)
    follow(client, query | {"last": lines}, printer, "audit tail -f")


@app.command(
    "show",
    epilog="Examples:\n\n  kubewitness audit show 01a2b3c4-…\n\n  kubewitness audit show ID -o json",
)
def show_call(
    audit_id: Annotated[
        str, typer.Argument(metavar="AUDIT_ID", help="As `audit search -o name` prints it.")
    ],
    form: Annotated[
        Format, typer.Option("-o", "--output", help="table, json or yaml.")
    ] = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Show everything that was recorded of one call."""
    events = connect(data_dir, via).get(path_of("audit", "calls", audit_id))["items"]
    if form is Format.JSON:
        write(to_json(events) + "\n")
    elif form is Format.YAML:
        write(to_yaml(events))
    elif any(event.get("kind") == "Event" for event in events):
        write(pages.page(events))
    else:
        write(to_yaml(events))


app.command(
    "search",
    epilog="Examples:\n\n  kubewitness audit search --user alice --since 24h\n\n"
    "  kubewitness audit search --verb delete -n shop --cluster prod\n\n"
    "  kubewitness audit search --status '>=400' --source 10.0.0.0/8 -o json",
)(with_filter(search))
app.command(
    "tail",
    epilog="Examples:\n\n  kubewitness audit tail -f\n\n  kubewitness audit tail -f --class mutate --cluster prod",
)(with_filter(tail))
app.command(
    "system",
    epilog="Examples:\n\n  kubewitness audit system --since 7d --action 'grant.*'\n\n"
    "  kubewitness audit system --denied --actor rob\n\n  kubewitness audit system -f",
)(system)
app.command(
    "who",
    epilog="Examples:\n\n  kubewitness audit who deploy/web -n shop --cluster prod\n\n"
    "  kubewitness audit who secret/db -n shop -o json",
)(who)
app.command(
    "export",
    epilog="Examples:\n\n  kubewitness audit export --since 30d --file november.ndjson\n\n"
    "  kubewitness audit export --user alice -o csv --file alice.csv",
)(with_filter(export))
app.command(
    "stats",
    epilog="Examples:\n\n  kubewitness audit stats --by user --since 7d\n\n"
    "  kubewitness audit stats --by status --cluster prod",
)(with_filter(stats))
app.command(
    "suspicious",
    epilog="Examples:\n\n  kubewitness audit suspicious --since 24h\n\n"
    "  kubewitness audit suspicious --user alice --flag two-networks -o json",
)(suspicious)
app.add_typer(audit_hold.app, name="hold")
app.add_typer(audit_retain.app, name="retain")
