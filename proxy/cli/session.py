"""`kubewitness session`: streams into pods, as the log has them."""

from datetime import timedelta
from typing import Annotated, Any, Final

import typer

from proxy.cli.completion import complete_cluster, complete_user
from proxy.cli.connection import connect
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.looking import look, say_what_is_missing
from proxy.cli.moments import local, parse, to_api
from proxy.cli.output import Column, Format, show

app = typer.Typer(help="Look at exec, attach and port-forward streams.", no_args_is_help=True)

_COLUMNS: Final = (
    Column("started", whole=True),
    Column("user", 8),
    Column("kind", 6),
    Column("cluster", 8, 2),
    Column("namespace", 8, 1),
    Column("pod", 12, middle=True),
    Column("lasted", rank=3, right=True, whole=True),
    Column("ended", 8, 4),
    Column("from", 10, 5),
    Column("id", 36, 6),
)


@app.command(
    "list",
    epilog="Examples:\n\n"
    "  kubewitness session list --open\n\n"
    "  kubewitness session list --user alice --since 24h -o json",
)
def list_sessions(
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user", "-u", autocompletion=complete_user, help="Only of this user; repeat it."
        ),
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            "--cluster",
            "-c",
            autocompletion=complete_cluster,
            help="Only in this cluster; repeat it.",
        ),
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Only in this namespace; repeat it."),
    ] = None,
    pod: Annotated[
        list[str] | None, typer.Option("--pod", help="Only into this pod; repeat it.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="From: 24h, 7d, today, 21:00, or RFC 3339.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Until, written likewise.")] = None,
    under_way: Annotated[bool, typer.Option("--open", help="Only those under way.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=1, help="So many sessions at most.")
    ] = 50,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """List sessions, newest first. `audit show ID` shows the call behind one."""
    client = connect(data_dir, via)
    query: dict[str, Any] = {
        "user": user, "cluster": cluster, "namespace": namespace, "pod": pod, "open": under_way,
        "since": to_api(since, "--since"), "until": to_api(until, "--until"),
    }  # fmt: skip
    found = look(client, "/sessions", query, limit)
    rows = [_row(item) for item in found.items]
    show(form, found.items, _COLUMNS, rows, name="id", empty="No sessions.")
    say_what_is_missing(found, limit, "sessions")


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        local(item["startedAt"], short=True),
        item["user"],
        item["kind"],
        item["cluster"],
        item["namespace"],
        item["pod"],
        _lasted(item),
        item["closeReason"] or item["status"] or "" if item["endedAt"] else "open",
        item["source"],
        item["id"],
    )


def _lasted(item: dict[str, Any]) -> str:
    """`0:03:12`; empty while it is under way."""
    if not item["endedAt"]:
        return ""
    seconds = (parse(item["endedAt"]) - parse(item["startedAt"])).total_seconds()
    return str(timedelta(seconds=round(max(0.0, seconds))))
