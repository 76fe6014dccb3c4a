"""`kubewitness audit retain`: old records leave the index, when two people agreed and not before.

The journals stay as they are. What leaves are whole days of the index in PostgreSQL, and only when
every record of them was found, byte for byte, in the archive of the journals.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.moments import local
from proxy.cli.output import Column, Format, say, show, visible
from proxy.errors import InvalidInputError, NotFoundError

app = typer.Typer(help="Let old records leave the index, with two approvals.")

_DAYS: Final = re.compile(r"(\d{1,6})d")
_COLUMNS: Final = (
    Column("id", whole=True),
    Column("before", 10),
    Column("proposed by", 8),
    Column("approved by", 8),
    Column("reason", 10, 1),
)
Identity = Annotated[str, typer.Argument(metavar="ID", help="As `audit retain list` shows it.")]


@app.callback(
    invoke_without_command=True,
    epilog="Examples:\n\n  kubewitness audit retain --older-than 400d --reason 'policy 12'\n\n"
    "  kubewitness audit retain approve 3f0c9b2a11de\n\n"
    "  kubewitness audit retain run 3f0c9b2a11de --archive /backup/journals",
)
def propose(
    context: typer.Context,
    older_than: Annotated[
        str, typer.Option("--older-than", help="Age in days, such as 400d; 90d at least.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why; it becomes part of the record.")] = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Propose that records older than that leave the index."""
    if context.invoked_subcommand is not None:
        return
    match = _DAYS.fullmatch(older_than)
    if match is None:
        raise InvalidInputError(
            f"--older-than {older_than!r} is not a number of days."
            if older_than
            else "Say how old: --older-than 400d.",
            hint="`kubewitness audit retain --help` shows the steps.",
        )
    made = connect(data_dir, via).post(
        "/retentions", {"olderThanDays": int(match[1]), "reason": reason}
    )
    _show([made], form)
    say(f"Two people approve it: `kubewitness audit retain approve {made['id']}`.")


@app.command("list", epilog="Example:  kubewitness audit retain list")
def list_retentions(
    form: FormOption = Format.TABLE, data_dir: DataDirOption = None, via: ViaOption = None
) -> None:
    """List what was proposed, and who approved it."""
    items = connect(data_dir, via).get("/retentions")["items"]
    _show(items, form, empty="Nothing was proposed.")


@app.command(epilog="Example:  kubewitness audit retain approve 3f0c9b2a11de")
def approve(
    identity: Identity,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Approve a proposal as yourself."""
    found = connect(data_dir, via).post(path_of("retentions", identity, "approve"))
    _show([found], form)
    if found["approved"]:
        say(f"Approved. An operator runs `kubewitness audit retain run {identity} --archive DIR`.")
    else:
        say("One more person has to approve it.")


@app.command(
    epilog="Example:  kubewitness audit retain run 3f0c9b2a11de --archive /backup/journals"
)
def run(
    identity: Identity,
    archive: Annotated[
        list[Path],
        typer.Option(help="Directory with the journals, or copies of them; may be repeated."),
    ],
    database: Annotated[
        str,
        typer.Option(
            envvar="KUBEWITNESS_ADMIN_DATABASE",
            help="URL of a database administrator; better in the environment than as a flag.",
            show_default=False,
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, remove nothing.")] = False,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Remove the approved records from the index, when nothing holds them back.

    Needs an account of the database that may drop partitions, which `serve` never has. Every
    record is looked up in the archive first; the journals themselves are never touched.
    """
    import asyncio

    from proxy.cli.removing import Removing

    if not database:
        raise InvalidInputError(
            "Say as whom: KUBEWITNESS_ADMIN_DATABASE=postgresql://ADMIN@HOST/DATABASE",
            hint="Only an administrator of the database may remove partitions.",
        )
    missing = [path for path in archive if not path.is_dir()]
    if missing:
        raise InvalidInputError(f"There is no directory {missing[0]}.")
    client = connect(data_dir, via)
    found = client.get("/retentions")["items"]
    wanted = next((item for item in found if item["id"] == identity), None)
    if wanted is None:
        raise NotFoundError(
            f"There is no retention {identity!r}.",
            hint="`kubewitness audit retain list` shows those there are.",
        )
    asyncio.run(Removing(client, wanted, archive, dry_run=dry_run).run(database))


def _show(items: list[dict[str, Any]], form: Format, *, empty: str = "") -> None:
    rows = [
        (
            visible(item["id"]),
            local(item["before"])[:10],
            visible(item["proposedBy"]),
            visible(", ".join(item["approvedBy"])),
            visible(item["reason"]),
        )
        for item in items
    ]
    named = [{**item, "name": item["id"]} for item in items]
    show(form, named, _COLUMNS, rows, empty=empty)
