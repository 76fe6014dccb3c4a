"""`kubewitness user investigate`: everything that is known of somebody, on one page.

It ends with the commands that take all of their access away.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from proxy.cli.completion import complete_user
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, ViaOption
from proxy.cli.looking import say_behind
from proxy.cli.moments import local, to_api
from proxy.cli.output import (  # fmt: skip
    Column,
    Format,
    say,
    table,
    terminal_width,
    to_json,
    to_yaml,
    visible,
    write,
)
from proxy.cli.showing import facts
from proxy.errors import InvalidInputError

_ADDRESSES: Final = (
    Column("address", 12),
    Column("first seen", rank=2, whole=True),
    Column("last seen", whole=True),
    Column("calls", 5, 1, right=True),
    Column("credentials", 10, 3),
)
_CREDENTIALS: Final = (
    Column("credential", whole=True),
    Column("usage", 6, 3),
    Column("clusters", 6, 2),
    Column("status", 7),
    Column("until", rank=1, whole=True),
)
_GRANTS: Final = (Column("grant", rank=2, whole=True), Column("to", 8, 1), Column("role", 17), Column("where", 24), Column("status", 7))  # fmt: skip
_CALLS: Final = (
    Column("time", whole=True),
    Column("address", 8, 1),
    Column("cluster", 6, 3),
    Column("verb", 6),
    Column("object", 16, middle=True),
    Column("namespace", 8, 4),
    Column("status", 6),
    Column("flags", 8, 2),
)
_COMMANDS: Final = (Column("command", 12), Column("address", 8, 1), Column("last", 10), Column("calls", 5, 2, right=True), Column("failed", 6, 3, right=True))  # fmt: skip
_OBJECTS: Final = (Column("object", 16), Column("cluster", 8, 2), Column("namespace", 8, 1), Column("verbs", 10), Column("failed", 6, 3, right=True))  # fmt: skip


def investigate(
    name: Annotated[
        str, typer.Argument(metavar="NAME", autocompletion=complete_user, help="Of the user.")
    ],
    since: Annotated[
        str,
        typer.Option(
            "--since", help="From this time on: 24h, 7d, today, or RFC 3339.", show_default=False
        ),
    ] = "",
    form: Annotated[
        Format, typer.Option("-o", "--output", help="table, json or yaml.")
    ] = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Show on one page what somebody has, from where they came and what they did.

    Looking is on record, like every look at the log.
    """
    if form in (Format.CSV, Format.NAME):
        raise InvalidInputError("An investigation is a page.", hint="Use -o table, json or yaml.")
    query = {"since": to_api(since or None, "--since")}
    found = connect(data_dir, via).get(path_of("users", name, "investigation"), query)
    if form is Format.JSON:
        write(to_json(found) + "\n")
    elif form is Format.YAML:
        write(to_yaml(found))
    else:
        write(page(found, terminal_width()))
        if found["status"] == "unregistered" and not (found["calls"] or found["credentials"]):
            say("Nobody of that name is registered, has a credential, or made a call in this time.")
        if not found["complete"]:
            say_behind()


def page(found: Mapping[str, Any], width: int | None) -> str:
    """The page, fit for a terminal of `width` cells."""
    counted = f"{found['calls']} calls, {found['failed']} of them failed"
    text = facts(
        [
            ("User", found["user"]),
            ("Status", " ".join(filter(None, (found["status"], found["kind"])))),
            ("Groups", ", ".join(found["groups"])),
            ("Since", f"{local(found['since'])}: {counted}"),
        ]
    )
    parts: Sequence[tuple[str, Sequence[Column], list[tuple[object, ...]]]] = (
        ("Flagged", _CALLS, [_call(item) for item in found["flagged"]]),
        ("Addresses", _ADDRESSES, [_address(item) for item in found["addresses"]]),
        ("Kubeconfigs", _CREDENTIALS, [_credential(item) for item in found["credentials"]]),
        ("API tokens", _CREDENTIALS, [_token(item) for item in found["tokens"]]),
        ("Grants", _GRANTS, [_grant(item) for item in found["grants"]]),
        ("Sessions", _CALLS, [_call(item) for item in found["sessions"]]),
        ("Refused", _CALLS, [_call(item) for item in found["denied"]]),
        ("Commands", _COMMANDS, [_command(item) for item in found["commands"]]),
        ("Objects", _OBJECTS, [_object(item) for item in found["objects"]]),
    )
    for title, columns, rows in parts:
        if rows:
            text += f"\n{title}\n{table(columns, rows, width=width)}"
    return text + _last(found["revoke"])


def _last(commands: Iterable[str]) -> str:
    lines = "".join(f"  {visible(command)}\n" for command in commands)
    return f"\nTo end every access of theirs, in this order:\n{lines}" if lines else ""


def _call(item: Mapping[str, Any]) -> tuple[object, ...]:
    thing = "/".join(filter(None, (item["resource"], item["name"])))
    status = "open" if item["status"] is None else item["status"]
    flags = ",".join(item["flags"])
    at = local(item["at"], short=True)
    return (
        at, item["address"], item["cluster"], item["verb"], thing, item["namespace"], status, flags,
    )  # fmt: skip


def _address(item: Mapping[str, Any]) -> tuple[object, ...]:
    used = ",".join(serial[:12] for serial in item["credentials"])
    first, last = local(item["firstSeen"], short=True), local(item["lastSeen"], short=True)
    return item["address"], first, last, item["calls"], used


def _credential(item: Mapping[str, Any]) -> tuple[object, ...]:
    clusters = ",".join(item["clusters"])
    return item["serial"], item["usage"], clusters, item["status"], local(item["notAfter"])


def _token(item: Mapping[str, Any]) -> tuple[object, ...]:
    permissions = ",".join(item["permissions"])
    return item["id"], "token", permissions, item["status"], local(item["notAfter"])


def _grant(item: Mapping[str, Any]) -> tuple[object, ...]:
    return item["id"], item["subject"], item["role"], item["scope"], item["status"]


def _command(item: Mapping[str, Any]) -> tuple[object, ...]:
    said = item["command"] or item["tool"] or "-"
    return said, item["address"], local(item["lastSeen"], short=True), item["calls"], item["failed"]


def _object(item: Mapping[str, Any]) -> tuple[object, ...]:
    thing = "/".join(filter(None, (item["resource"], item["name"])))
    verbs = ", ".join(f"{verb} {count}" for verb, count in item["verbs"].items())
    return thing, item["cluster"], item["namespace"], verbs, item["failed"]


def register(app: typer.Typer) -> None:
    """Add the command to `kubewitness user`."""
    app.command(epilog="Example:  kubewitness user investigate alice --since 7d")(investigate)
