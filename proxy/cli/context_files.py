"""`kubewitness context issue` and `add`: a second administrator, on a machine of their own.

What an administrator gets is a context file: the server, whom to trust, and a key made here. It
holds what it takes to administer, so it is written readable by its owner only and not shown.
"""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from proxy.cli.connection import connect, is_loopback, join, split
from proxy.cli.context import DataDirOption, ViaOption, default_path, load, read_document
from proxy.cli.moments import until
from proxy.cli.output import say, to_yaml, visible, write
from proxy.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from proxy.files import replace_private

_FIELDS: Final = ("server", "ca-data", "client-certificate-data", "client-key-data")


def issue(
    user: Annotated[
        str, typer.Argument(metavar="USER", help="Who will administer: the name on record.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File to write, readable by you only.")
    ],
    ttl: Annotated[
        str, typer.Option(help="How long it works, such as 30d; default: the server's.")
    ] = "",
    server: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="The control plane as they reach it; default: as this command does.",
        ),
    ] = "",
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Issue a context for another administrator."""
    from proxy.cli.issuing import obtain
    from proxy.pki.kubeconfig import base64_text

    output = output.expanduser()
    if output.exists() or not output.parent.is_dir():
        raise InvalidInputError(
            f"{output} cannot be made.", hint="Name a new file in a directory that is there."
        )
    client = connect(data_dir, via)
    address = join(*split(server)) if server else client.server.address
    issued, key = obtain(client, "/credentials", {"user": user, "usage": "admin", "ttl": ttl})
    values = (
        f"https://{address}",
        base64_text(client.server.ca.encode()),
        base64_text(issued["certificate"].encode()),
        base64_text(key),
    )
    name = f"{user}@{address}"
    document = {
        "current-context": name,
        "contexts": [{"name": name, **dict(zip(_FIELDS, values, strict=True))}],
    }
    try:
        replace_private(output, to_yaml(document).encode())
    except OSError as error:
        raise UnavailableError(
            f"The credential was issued and could not be written: {error.strerror or error}.",
            hint=f"Revoke it: `kubewitness kubeconfig revoke {issued['serial']}`.",
        ) from error
    write(f"Wrote {visible(output)} for {visible(user)}.\n")
    write(f"Valid until {until(issued['notAfter'])}; serial {issued['serial']}.\n")
    write(f"They run:  kubewitness context add {visible(output.name)}\n")
    if is_loopback(split(address)[0]):
        say(
            f"Warning: {address} is reached from this machine only. For another one, issue it with "
            "--server HOST:PORT, a name in `tls.names` that `control` listens on."
        )


def add(
    file: Annotated[Path, typer.Argument(help="As `kubewitness context issue` wrote it.")],
    use: Annotated[bool, typer.Option("--use", help="Make it the current one.")] = False,
) -> None:
    """Add the contexts of a file to yours."""
    file = file.expanduser()
    if not file.is_file():
        raise NotFoundError(f"There is no file {file}.")
    given = load(file)  # says what is wrong with it
    if not given.entries:
        raise InvalidInputError(f"{file} has no contexts.")
    path = default_path()
    mine = load(path)
    for name in given.entries:
        if name in mine.entries:
            raise ConflictError(
                f"{path} has a context {name!r} already.", hint="Remove it there first."
            )
    document = read_document(path)
    added: list[Any] = read_document(file)["contexts"]
    document["contexts"] = [*(document.get("contexts") or []), *added]
    name = given.current if given.current in given.entries else next(iter(given.entries))
    if use or not document.get("current-context"):
        document["current-context"] = name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_private(path, to_yaml(document).encode())
    write(f"Added {visible(', '.join(given.entries))} to {visible(path)}.\n")
    if document["current-context"] != name:
        write(f"Use it:  kubewitness context use {visible(name)}\n")


def register(app: typer.Typer) -> None:
    """Add the commands to `kubewitness context`."""
    app.command(
        epilog="Example:  kubewitness context issue ann --ttl 30d -o ann.context.yaml",
    )(issue)
    app.command(epilog="Example:  kubewitness context add ann.context.yaml --use")(add)
