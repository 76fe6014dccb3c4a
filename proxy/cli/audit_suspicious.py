"""`kubewitness audit suspicious`: uses of credentials that are out of the ordinary."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from proxy.audit.flags import Flag
from proxy.cli.completion import complete_serial, complete_user
from proxy.cli.connection import connect
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.looking import look, say_what_is_missing
from proxy.cli.moments import local, to_api
from proxy.cli.output import Column, Format, show

COLUMNS: Final = (
    Column("time", whole=True),
    Column("user", 8),
    Column("address", 12),
    Column("flags", 16),
    Column("cluster", 8, 3),
    Column("verb", 6, 1),
    Column("object", 12, 2, middle=True),
    Column("status", 6, 4),
)


def suspicious(
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user", "-u", autocompletion=complete_user, help="User. Repeat it for any of several."
        ),
    ] = None,
    credential: Annotated[
        list[str] | None,
        typer.Option(
            "--credential", autocompletion=complete_serial, help="Serial of the credential."
        ),
    ] = None,
    flag: Annotated[list[Flag] | None, typer.Option("--flag", help="Flag.")] = None,
    since: Annotated[
        str,
        typer.Option(help="From: 24h, 7d, today, 21:00, or RFC 3339.", show_default=False),
    ] = "",
    until: Annotated[str, typer.Option(help="Until, written likewise.", show_default=False)] = "",
    form: FormOption = Format.TABLE,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="So many at most.")] = 50,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """List uses of credentials that are out of the ordinary, newest first.

    A flag is a reason to look, never a verdict: nothing was refused for it.
    """
    query = {
        "user": user,
        "credential": credential,
        "flag": [one.value for one in flag or ()],
        "since": to_api(since or None, "--since"),
        "until": to_api(until or None, "--until"),
    }
    found = look(connect(data_dir, via), "/audit/suspicious", query, limit)
    rows = [row(item) for item in found.items]
    show(form, found.items, COLUMNS, rows, name="id", empty="Nothing was out of the ordinary.")
    say_what_is_missing(found, limit)


def row(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of one use."""
    thing = "/".join(part for part in (item["resource"], item["name"]) if part)
    status = "" if item["status"] is None else str(item["status"])
    return (
        local(item["at"], short=True),
        item["user"],
        item["address"],
        ", ".join(item["flags"]),
        item["cluster"],
        item["verb"],
        thing,
        status,
    )
