"""`kubewitness apply`: people, projects, roles and grants as files say, all or nothing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from proxy.cli.apply_diff import diff, kind_of, taken_away, title
from proxy.cli.asking import ReasonOption, YesOption, confirm
from proxy.cli.connection import connect
from proxy.cli.context import DataDirOption, ViaOption
from proxy.cli.output import Format, say, to_json, to_yaml, visible, write
from proxy.cli.showing import counted
from proxy.errors import InvalidInputError, KubewitnessError

if TYPE_CHECKING:
    from proxy.cli.client import Client
    from proxy.cli.documents import Document

STANDARD_INPUT: Final = "-"


def command(
    file: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--file",
            help="YAML file or directory; repeat it; - is standard input.",
            show_default=False,
        ),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Of the kinds in the files, take away what is not in them: remove, revoke.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    export: Annotated[
        bool,
        typer.Option("--export", help="Write what there is as such a file, and change nothing."),
    ] = False,
    reason: ReasonOption = "",
    yes: YesOption = False,
    form: Annotated[
        Format, typer.Option("-o", "--output", help="table, json, yaml or name.")
    ] = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Make people, groups, projects, roles and grants as files say. All of it happens, or nothing.

    What would be taken away is shown and asked about first, unless --yes.
    """
    if form is Format.CSV:
        raise InvalidInputError("Changes do not fit in CSV.", hint="Use -o json, yaml or name.")
    if export:
        _export(connect(data_dir, via), file)
        return
    from proxy.cli.documents import read

    documents = read(file or [])
    if not documents:
        raise InvalidInputError("There is no document to apply.", hint="Name files with -f.")
    client = connect(data_dir, via)
    if dry_run or not yes:
        planned = _send(client, documents, prune=prune, dry_run=True, reason=reason)
        if dry_run:
            _show(form, planned)
            say(f"{_said(planned)} (--dry-run: nothing was changed).")
            return
        _ask(planned, file or [])
    done = _send(client, documents, prune=prune, dry_run=False, reason=reason)
    _show(form, done)
    say(f"{_said(done)}.")


def _export(client: "Client", file: list[str] | None) -> None:
    if file:
        raise InvalidInputError("--export writes and -f reads.", hint="Give one of them.")
    from proxy.cli.exporting import exported

    write(exported(client))


def _ask(planned: list[dict[str, Any]], file: list[str]) -> None:
    """Show what would be taken away, and go on only after a yes."""
    gone = taken_away(planned)
    if not gone:
        return
    if STANDARD_INPUT in file:
        raise InvalidInputError(
            f"{counted(len(gone), 'thing')} would be taken away, and nobody can be asked: "
            "standard input holds the documents.",
            hint="Look with --dry-run, then repeat it with --yes.",
        )
    for line in diff(planned).splitlines():
        say(line)
    confirm(f"Take {counted(len(gone), 'thing')} away?", yes=False)


def _send(
    client: "Client",
    documents: "Sequence[Document]",
    *,
    prune: bool,
    dry_run: bool,
    reason: str,
) -> list[dict[str, Any]]:
    from proxy.cli.documents import located

    body = {
        "objects": [document.to_api() for document in documents],
        "prune": prune,
        "dryRun": dry_run,
        "reason": reason,
    }
    try:
        changes: list[dict[str, Any]] = client.post("/apply", body)["changes"]
    except KubewitnessError as error:
        raise located(error, documents) from error
    return changes


def _show(form: Format, changes: list[dict[str, Any]]) -> None:
    if form is Format.JSON:
        write(to_json(changes) + "\n")
    elif form is Format.YAML:
        write(to_yaml(changes))
    elif form is Format.NAME:
        write("".join(f"{visible(title(change))}\n" for change in changes))
    else:
        write(diff(changes))


def _said(changes: list[dict[str, Any]]) -> str:
    counts = [
        f"{count} {word}"
        for word, count in (
            (word, sum(kind_of(change) == word for change in changes))
            for word in ("added", "changed", "removed")
        )
        if count
    ]
    return ", ".join(counts) if counts else "Everything is as the files say"


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(
        "apply",
        epilog="Examples:\n\n"
        "  kubewitness apply --export > people.yaml\n\n"
        "  kubewitness apply -f people.yaml --dry-run\n\n"
        "  kubewitness apply -f access/ --prune --yes --reason 'merged #41'",
    )(command)
