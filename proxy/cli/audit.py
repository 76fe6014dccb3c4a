"""`kubewitness audit`: look at what was recorded. Every look is itself recorded first."""

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from proxy.cli import audit_pages as pages
from proxy.cli.audit_filter import Query, with_filter
from proxy.cli.completion import complete_cluster
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, ViaOption
from proxy.cli.moments import local
from proxy.cli.output import (
    Column,
    Format,
    say,
    show,
    table,
    terminal_width,
    to_json,
    to_yaml,
    visible,
    write,
)
from proxy.errors import InvalidInputError, KubewitnessError, UnavailableError

if TYPE_CHECKING:
    from proxy.cli.client import Client

app = typer.Typer(help="Search, follow and export the audit log.", no_args_is_help=True)

_PAGE: Final = 500
FormOption = Annotated[Format, typer.Option("-o", "--output", help="Form of the output.")]
TextArgument = Annotated[
    str, typer.Argument(metavar="[TEXT]", help="Text in the URI, user agent, name or user.")
]


class ExportFormat(StrEnum):
    """Forms of an export."""

    NDJSON = "ndjson"
    CSV = "csv"


class By(StrEnum):
    """What calls are counted by."""

    USER = "user"
    CLUSTER = "cluster"
    VERB = "verb"
    CLASS = "class"
    RESOURCE = "resource"
    NAMESPACE = "namespace"
    STATUS = "status"
    TOOL = "tool"
    SOURCE = "source"


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
    items, more, complete = _found(client, query | {"oldest": oldest}, limit)
    _show_calls(form, items)
    if not complete:
        say("The index is behind; the latest calls may be missing. Look again in a moment.")
    if more:
        say(
            f"There are more; --limit {limit * 10} shows them, --since and the other filters fewer."
        )


def _found(client: "Client", query: Query, limit: int) -> tuple[list[dict[str, Any]], bool, bool]:
    items: list[dict[str, Any]] = []
    cursor, complete = "", True
    while len(items) < limit:
        page = client.get(
            "/audit/calls", query | {"limit": min(_PAGE, limit - len(items)), "cursor": cursor}
        )
        items += page["items"]
        complete = complete and page["complete"]
        cursor = page["next"]
        if not cursor:
            break
    return items, bool(cursor), complete


def _show_calls(form: Format, items: list[dict[str, Any]]) -> None:
    rows = [pages.row(item) for item in items]
    empty = "No calls found. Discovery and health calls are shown with --all."
    show(form, items, pages.COLUMNS, rows, name="auditID", empty=empty)


def tail(
    query: Query,
    text: TextArgument = "",
    follow: Annotated[
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
    if not follow:
        items, _, _ = _found(client, query, lines) if lines else ([], False, True)
        _show_calls(form, items[::-1])
        return
    if form not in (Format.TABLE, Format.JSON, Format.NAME):
        raise InvalidInputError(f"-f does not go with -o {form}.", hint="Use table, json or name.")
    printer = _Printer(form)
    try:
        for kind, item in client.events("/audit/tail", query | {"last": lines}):
            if kind == "missed":
                say(f"{item['count']} calls came too fast to be shown; search finds them.")
            else:
                printer.line(item)
    except KeyboardInterrupt:
        return
    raise UnavailableError("The server ended the stream.", hint="Start `audit tail -f` again.")


class _Printer:
    """Prints one call at a time, in columns that stay where they are."""

    _WIDTHS: Final = (8, 14, 12, 6, 36, 14, 10, 8, 16)

    def __init__(self, form: Format) -> None:
        self._form = form
        self._headed = False

    def line(self, item: Mapping[str, Any]) -> None:
        if self._form is Format.JSON:
            write(to_json(item, indent=None) + "\n")
        elif self._form is Format.NAME:
            write(f"{visible(item.get('auditID', ''))}\n")
        else:
            cells = pages.row(item)
            padded = [
                visible(cell).ljust(width) for cell, width in zip(cells, self._WIDTHS, strict=True)
            ]
            text = table(pages.COLUMNS, [padded], width=terminal_width(), header=not self._headed)
            self._headed = True
            write(text)


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
    elif events[-1].get("kind") == "Event":
        write(pages.page(events))
    else:
        write(to_yaml(events))


_WHO: Final = (
    Column("user", 6),
    Column("calls", 5, right=True),
    Column("verbs", 12, 1),
    Column("first", 8, 2),
    Column("last", 8),
    Column("status", 6, 3),
)


@app.command(
    epilog="Examples:\n\n  kubewitness audit who deploy/web -n shop --cluster prod\n\n"
    "  kubewitness audit who secret/db -n shop -o json"
)
def who(
    thing: Annotated[
        str, typer.Argument(metavar="RESOURCE/NAME", help="The object, such as deploy/web.")
    ],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "",
    cluster: Annotated[
        str,
        typer.Option(
            "--cluster", "-c", autocompletion=complete_cluster, help="Its cluster; default: any."
        ),
    ] = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """List who touched an object, the latest first."""
    resource, slash, name = thing.partition("/")
    if not slash or not resource or not name:
        raise InvalidInputError(f"{thing!r} is not an object.", hint="Write it like deploy/web.")
    query = {"resource": resource, "name": name, "namespace": namespace, "cluster": cluster}
    items = connect(data_dir, via).get("/audit/who", query)["items"]
    rows = [
        (
            item["user"] or "-",
            item["calls"],
            ", ".join(f"{verb} {count}" for verb, count in sorted(item["verbs"].items())),
            local(item["firstSeen"], short=True),
            local(item["lastSeen"], short=True),
            "" if item["lastStatus"] is None else item["lastStatus"],
        )
        for item in items
    ]
    show(
        form,
        items,
        _WHO,
        rows,
        name="user",
        empty=f"Nobody touched {thing}, as far as it went through here.",
    )


def export(
    query: Query,
    form: Annotated[
        ExportFormat, typer.Option("-o", "--output", help="ndjson or csv.")
    ] = ExportFormat.NDJSON,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="File to write, readable by you only; default: stdout."),
    ] = None,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Export all calls that match, oldest first."""
    chunks = connect(data_dir, via).chunks("/audit/export", query | {"format": form.value})
    if file is not None:
        _save(file.expanduser(), chunks)
        return
    if form is ExportFormat.NDJSON and sys.stdout.isatty():
        for line in _lines(chunks):
            write(visible(line.decode("utf-8", "backslashreplace")) + "\n")
        return
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _save(path: Path, chunks: Iterator[bytes]) -> None:
    import os
    import tempfile

    written = 0
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror or error}.") from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            for chunk in chunks:
                out.write(chunk)
                written += len(chunk)
        temporary.replace(path)  # a broken-off export never looks like a whole one
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}.") from error
    except (KubewitnessError, KeyboardInterrupt):
        temporary.unlink(missing_ok=True)
        raise
    say(f"Wrote {path}: {pages.size(written)}.")


_COUNTED: Final = (
    Column("calls", 6, right=True),
    Column("failed", 6, right=True),
    Column("share", 5, 1, right=True),
)


def stats(
    query: Query,
    by: Annotated[By, typer.Option("--by", help="What to count by.")] = By.USER,
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=1, max=1000, help="So many rows at most.")
    ] = 20,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Count calls, by default of the last 24 hours."""
    query = {"since": _day_ago()} | query
    found = connect(data_dir, via).get("/audit/stats", query | {"by": by.value, "limit": limit})
    items = found["items"]
    if form is Format.JSON:
        write(to_json(found) + "\n")
        return
    total = found["total"] or 1
    rows = [
        (item["value"] or "-", item["count"], item["failed"], f"{item['count'] / total:.0%}")
        for item in items
    ]
    show(form, items, (Column(by.value, 10), *_COUNTED), rows, name="value", empty="No calls.")
    if form is Format.TABLE and items:
        say(
            f"{found['total']} calls, {found['failed']} failed, since {local(str(query['since']))}."
        )


def _day_ago() -> str:
    from datetime import timedelta

    from proxy.clock import SystemClock

    when = datetime.fromtimestamp(SystemClock.now(), UTC) - timedelta(days=1)
    return when.isoformat().replace("+00:00", "Z")


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
    "export",
    epilog="Examples:\n\n  kubewitness audit export --since 30d --file november.ndjson\n\n"
    "  kubewitness audit export --user alice -o csv --file alice.csv",
)(with_filter(export))
app.command(
    "stats",
    epilog="Examples:\n\n  kubewitness audit stats --by user --since 7d\n\n"
    "  kubewitness audit stats --by status --cluster prod",
)(with_filter(stats))
