"""`kubewitness token`: API tokens, for machines that speak to the control plane.

The secret is shown once, here, and is kept by nobody but who gets it: not in the log, not in the
state, not in an error.
"""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from proxy.cli import scoping
from proxy.cli.asking import ReasonOption, YesOption, confirm
from proxy.cli.completion import complete_permission, complete_registered, complete_token
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, EndedOption, FormOption, ViaOption
from proxy.cli.new_file import new_file
from proxy.cli.output import Column, Format, say, show, visible, write
from proxy.errors import InvalidInputError, UnavailableError

app = typer.Typer(help="Issue and revoke API tokens for machines.", no_args_is_help=True)

_COLUMNS: Final = (
    Column("id", whole=True),
    Column("user", 8),
    Column("permissions", 12, 2),
    Column("where", 8, 3),
    Column("status", 7, 1),
    Column("expires", whole=True),
    Column("created by", 6, 4),
    Column("reason", 6, 5),
)


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness token add ci-shop --permission audit.export --project shop --expires 90d "
    "-o ci.token\n\n"
    "  kubewitness token add siem --permission audit.look --expires 30d --context -o siem.context.yaml"
)
def add(
    user: Annotated[
        str,
        typer.Argument(
            metavar="USER",
            autocompletion=complete_registered,
            help="Whose it is; a service, mostly.",
        ),
    ],
    permission: Annotated[
        list[str],
        typer.Option(
            "--permission",
            "-P",
            autocompletion=complete_permission,
            help="What it may do, of what its user may; repeat it.",
        ),
    ],
    expires: Annotated[
        str,
        typer.Option("--expires", help="When it ends: 90d from now, or a time; a year at most."),
    ],
    project: scoping.ProjectOption = "",
    cluster: scoping.ClusterOption = "",
    namespace: scoping.NamespaceOption = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write it to, readable by you only; default: standard output.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        bool,
        typer.Option(
            "--context",
            help="Write a whole context for `kubewitness context add`, not the token alone.",
        ),
    ] = False,
    reason: ReasonOption = "",
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Issue an API token. It is shown once; use it by KUBEWITNESS_TOKEN_FILE, or as a Bearer token.

    It may do what both its permissions and the grants of its user allow, at the time it is used.
    """
    from proxy.cli.moments import until

    if context and output is None:
        raise InvalidInputError("--context needs a file to write.", hint="Name it with -o.")
    _require_known(permission)
    file = None if output is None else new_file(output)
    body: dict[str, Any] = {
        "user": user,
        "permissions": permission,
        "expiresAt": scoping.end_of(expires),
        "reason": reason,
    }
    scope = scoping.scope_of(
        organization=False, project=project, cluster=cluster, namespace=namespace
    )
    if scope:
        body["scope"] = scope
    client = connect(data_dir, via)
    made = client.post("/tokens", body)
    secret = made["token"]
    if file is None:
        write(f"{secret}\n")
    else:
        text = (
            _context(user, client.server.address, client.server.ca, secret) if context else secret
        )
        _write(file, text, made["id"])
        say(f"Wrote {file}.")
    say(f"Token {made['id']} of {user}, until {until(made['expiresAt'])}. It is not shown again.")


@app.command("list", epilog="Example:  kubewitness token list --all")
def list_tokens(
    user: Annotated[
        str,
        typer.Option(
            "--user",
            "-u",
            autocompletion=complete_registered,
            help="Only this user's.",
            show_default=False,
        ),
    ] = "",
    everything: EndedOption = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """List the API tokens. What is secret in them is known to nobody."""
    items = list(connect(data_dir, via).pages("/tokens", {"user": user, "all": everything}))
    _show(form, items, "No tokens." if everything else "No standing tokens; --all shows the others, too.")  # fmt: skip


@app.command(epilog="Example:  kubewitness token revoke 5f0c62b1a9 --reason 'was in a log' --yes")
def revoke(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID", autocompletion=complete_token, help="As `token list` shows it."
        ),
    ],
    reason: ReasonOption = "",
    yes: YesOption = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Revoke an API token: the next request with it is refused."""
    client = connect(data_dir, via)
    confirm(f"Revoke token {identity}?", yes=yes)
    gone = client.post(path_of("tokens", identity, "revoke"), {"reason": reason})
    _show(form, [gone], "")


def _require_known(permissions: list[str]) -> None:
    from difflib import get_close_matches

    from proxy.state.permission import Permission

    known = [item.value for item in Permission]
    for name in permissions:
        if name not in known:
            close = get_close_matches(name, known, 3)
            raise InvalidInputError(
                f"There is no permission {name!r}.",
                hint=f"Did you mean {' or '.join(close)}?"
                if close
                else "`kubewitness role show admin` lists all of them.",
            )


def _context(user: str, address: str, ca: str, secret: str) -> str:
    from proxy.cli.output import to_yaml
    from proxy.pki.kubeconfig import base64_text

    name = f"{user}@{address}"
    entry = {
        "name": name,
        "server": f"https://{address}",
        "ca-data": base64_text(ca.encode()),
        "token": secret,
    }
    return to_yaml({"current-context": name, "contexts": [entry]}).rstrip("\n")


def _write(file: Path, text: str, identity: str) -> None:
    from proxy.files import replace_private

    try:
        replace_private(file, f"{text}\n".encode())
    except OSError as error:
        raise UnavailableError(
            f"The token was issued and could not be written: {error.strerror or error}.",
            hint=f"Revoke it: `kubewitness token revoke {identity}`.",
        ) from error


def _show(form: Format, items: list[dict[str, Any]], empty: str) -> None:
    from proxy.cli.moments import local

    rows = [
        (
            item["id"],
            item["user"],
            ",".join(item["permissions"]),
            scoping.words(item["scope"]) if item.get("scope") else "",
            item["status"],
            local(item["expiresAt"]),
            item["createdBy"],
            visible(item.get("reason") or ""),
        )
        for item in items
    ]
    show(form, items, _COLUMNS, rows, name="id", empty=empty)
