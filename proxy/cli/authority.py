"""`kubewitness authority`: the certificate authority behind every credential."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from proxy.cli.connection import connect
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.moments import local
from proxy.cli.output import Column, Format, say, show, visible
from proxy.errors import InvalidInputError

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


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness authority generate -o D\n\n"
    "  kubewitness authority generate --secret kubewitness-authority"
)
def generate(
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Directory for ca.crt, ca.key, state.key and made.json.",
            show_default=False,
        ),
    ] = None,
    secret: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="In a pod: keep them as this Secret of its namespace; one that is there stays.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Make an authority and a state key for replicas to share, without a server.

    `serve` takes them as `tls.ca_cert_file`, `tls.ca_key_file` and `state_key_file`, and records who
    made them from the note beside them, made.json.
    """
    from proxy.clock import SystemClock
    from proxy.runtime import shared_keys
    from proxy.runtime.local_acts import person

    if bool(secret) == (output is not None):
        raise InvalidInputError("Say where to: --output DIR or --secret NAME.")
    clock = SystemClock()
    if output is not None:
        directory = output.expanduser()
        made = asyncio.run(shared_keys.new_shared(clock, person(), str(directory.absolute())))
        shared_keys.write_shared(directory, made)
        say(f"Wrote {', '.join(shared_keys.FILES)} to {visible(output)}: keep them private.")
        return
    new = asyncio.run(shared_keys.create_own_secret(secret, clock, person()))
    say(f"Secret {visible(secret)} {'was made' if new else 'is there already; it stays'}.")


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
