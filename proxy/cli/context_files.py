"""`kubewitness context issue`, `add` and `remove`: somebody else at the control plane, from their own machine.

What they get is a context file: the server, whom to trust, and a key made here. It says who they
are; what they may do their grants say, and `--role` makes the first. It is written readable by its
owner only and not shown.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from proxy.cli.asking import YesOption, confirm
from proxy.cli.connection import connect, is_loopback, join, split
from proxy.cli.context import (
    DataDirOption,
    ViaOption,
    complete_context,
    default_path,
    load,
    read_document,
)
from proxy.cli.moments import until
from proxy.cli.new_file import new_file
from proxy.cli.output import say, to_yaml, visible, write
from proxy.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from proxy.files import replace_private

if TYPE_CHECKING:
    from proxy.cli.client import Client

_FIELDS: Final = ("server", "ca-data", "client-certificate-data", "client-key-data")


def issue(
    user: Annotated[
        str, typer.Argument(metavar="USER", help="Who will use it: the name on record.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File to write, readable by you only.")
    ],
    role: Annotated[
        str,
        typer.Option(
            help="Grant them this role first, registering them if need be: admin, auditor, …",
            show_default=False,
        ),
    ] = "",
    project: Annotated[
        str, typer.Option(help="Where the role holds; default: the whole organization.")
    ] = "",
    cluster: Annotated[
        str, typer.Option(help="Where the role holds; default: the whole organization.")
    ] = "",
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
    """Issue a context for somebody else: an administrator, an auditor, whatever they are granted."""
    from proxy.cli.issuing import obtain
    from proxy.pki.kubeconfig import base64_text

    output = new_file(output)
    client = connect(data_dir, via)
    address = join(*split(server)) if server else client.server.address
    scope = _scope(role, project, cluster)
    if role:
        _grant(client, user, role, scope)
    else:
        _require_something(client, user)
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


def _scope(role: str, project: str, cluster: str) -> dict[str, str]:
    if (project or cluster) and not role:
        raise InvalidInputError("--project and --cluster say where a --role holds.")
    if project and cluster:
        raise InvalidInputError("Give --project or --cluster, not both.")
    if project:
        return {"kind": "project", "project": project}
    return {"kind": "cluster", "cluster": cluster} if cluster else {"kind": "organization"}


def _grant(client: "Client", user: str, role: str, scope: dict[str, str]) -> None:
    """Let `user` have a role, unless they have it; whoever is not registered is registered."""
    try:
        client.get(f"/users/{quote(user, safe='')}")
    except NotFoundError:
        client.post("/users", {"name": user, "reason": "context issue"})
        say(f"Registered {visible(user)}.")
    held = client.get("/grants", {"user": user, "role": role})["items"]
    if any(item["scope"] == scope for item in held):
        return
    client.post(
        "/grants",
        {
            "subject": {"kind": "user", "name": user},
            "role": role,
            "scope": scope,
            "reason": "context issue",
        },
    )
    say(f"Granted {visible(role)} to {visible(user)}.")


def _require_something(client: "Client", user: str) -> None:
    """Refuse a context that would be good for nothing."""
    try:
        groups = client.get(f"/users/{quote(user, safe='')}")["groups"]
    except NotFoundError:
        groups = []
    asked = [{"user": user}, *({"group": group} for group in groups)]
    if not any(client.get("/grants", {**query, "limit": 1})["items"] for query in asked):
        raise InvalidInputError(
            f"{user} was granted nothing, so the context would be of no use.",
            hint="Add --role admin (or auditor, …), or `kubewitness grant add` first.",
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
                f"{path} has a context {name!r} already.",
                hint=f"`kubewitness context remove {name}` first.",
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


def remove(
    name: Annotated[
        str, typer.Argument(metavar="NAME", autocompletion=complete_context, help="Of the context.")
    ],
    yes: YesOption = False,
) -> None:
    """Remove a context of yours, with the key or token in it. The credential itself still counts.

    It counts until it ends or is revoked: `kubewitness kubeconfig revoke`, `kubewitness token revoke`.
    """
    path = default_path()
    load(path).find(name)
    confirm(f"Remove the context {name} from {path}?", yes=yes)
    document = read_document(path)
    document["contexts"] = [item for item in document["contexts"] if item["name"] != name]
    was_current = document.get("current-context") == name
    if was_current:
        del document["current-context"]
    replace_private(path, to_yaml(document).encode())
    write(f"Removed {visible(name)} from {visible(path)}.\n")
    if was_current and document["contexts"]:
        say("No context is current now: `kubewitness context use NAME`.")


def register(app: typer.Typer) -> None:
    """Add the commands to `kubewitness context`."""
    app.command(
        epilog="Examples:\n\n"
        "  kubewitness context issue ann --role admin --ttl 30d -o ann.context.yaml\n\n"
        "  kubewitness context issue eve --role auditor --project shop -o eve.context.yaml",
    )(issue)
    app.command(epilog="Example:  kubewitness context add ann.context.yaml --use")(add)
    app.command(epilog="Example:  kubewitness context remove ann@proxy.example:9443 --yes")(remove)
