"""`kubewitness kubeconfig`: the files people use kubectl with, and taking them back.

The private key is made here and never leaves this machine; only a signing request does.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from proxy.cli.asking import ReasonOption, YesOption, confirm
from proxy.cli.completion import (
    complete_cluster,
    complete_group,
    complete_serial,
    complete_user,
)
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, EndedOption, FormOption, ViaOption
from proxy.cli.moments import local, until
from proxy.cli.output import Column, Format, say, show, visible, write
from proxy.errors import InvalidInputError

if TYPE_CHECKING:
    from proxy.cli.client import Client

app = typer.Typer(help="Issue, list and revoke kubeconfigs.", no_args_is_help=True)

_STANDARD_OUTPUT: Final = Path("-")
_COLUMNS: Final = (
    Column("serial", whole=True),
    Column("user", 6),
    Column("groups", 6, 2),
    Column("clusters", 6, 3),
    Column("usage", 7, 4),
    Column("status", 7),
    Column("valid until", rank=1, whole=True),
    Column("reason", 6, 5),
)


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness kubeconfig issue rob -o rob.kubeconfig\n\n"
    "  kubewitness kubeconfig issue alice --group dev --cluster prod --ttl 8h -o alice.kubeconfig\n\n"
    "  kubewitness kubeconfig issue bob --group ops --cluster '*' --ttl 30d -o bob.kubeconfig --exec\n\n"
    "  kubewitness kubeconfig issue eve --cluster prod --server 203.0.113.7:443 -o - > eve.kubeconfig"
)
def issue(
    user: Annotated[
        str,
        typer.Argument(
            metavar="USER",
            autocompletion=complete_user,
            help="Who will use it: the user Kubernetes sees.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="File to write, readable by you only; - is standard output."
        ),
    ],
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            "--cluster",
            "-c",
            autocompletion=complete_cluster,
            help="A cluster it reaches; repeat it, or '*' for all. Registered users: default is "
            "wherever their grants reach.",
            show_default=False,
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            "-g",
            autocompletion=complete_group,
            help="A group Kubernetes sees; repeat it. Those of registered users are in the registry.",
        ),
    ] = None,
    ttl: Annotated[
        str,
        typer.Option(
            help="How long it works, such as 8h or 30d; default: the server's.", show_default=False
        ),
    ] = "",
    plugin: Annotated[
        bool,
        typer.Option(
            "--exec", help="Use short certificates that renew themselves for as long as --ttl says."
        ),
    ] = False,
    server: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Address to reach the proxy at, where it differs from the one it advertises (a "
            "load balancer, a forwarded port); its name is still checked.",
            show_default=False,
        ),
    ] = "",
    reason: ReasonOption = "",
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Issue a kubeconfig for a user, with one context for each cluster.

    For a registered user the name is enough: groups and clusters follow from the registry and from
    the grants, now and later.
    """
    from proxy.cli import issuing

    reached = issuing.reached_at(server)
    request = {
        "user": user, "groups": group or [], "clusters": cluster or [], "ttl": ttl,
        "reason": reason,
    }  # fmt: skip
    if output == _STANDARD_OUTPUT:
        if plugin:
            raise InvalidInputError("--exec keeps a second file beside the first: name a file.")
        issued, text = issuing.plain_text(connect(data_dir, via), request, reached)
        write(text)
        say(f"Valid until {until(issued['notAfter'])}; serial {issued['serial']}.")
        return
    output = output.expanduser()
    issuing.check(output)
    client = connect(data_dir, via)
    write_file = issuing.write_renewing if plugin else issuing.write_plain
    issued, contexts = write_file(client, request, output, reached)
    _say_issued(issued, contexts, output, renews=plugin)


def _say_issued(issued: dict[str, Any], contexts: list[str], output: Path, *, renews: bool) -> None:
    groups = f" in {', '.join(issued['groups'])}" if issued["groups"] else ""
    if not issued["reachable"]:
        say(f"No grant of {issued['user']} reaches {', '.join(contexts)} yet; calls are refused.")
    named = "context" if len(contexts) == 1 else "contexts"
    write(
        f"Wrote {visible(output)} for {visible(issued['user'] + groups)}: {named} {visible(', '.join(contexts))}.\n"
    )
    write(f"Valid until {until(issued['notAfter'])}; serial {issued['serial']}.\n")
    if renews:
        write("Until then it gets itself certificates of an hour or less.\n")
    write(f"Try:  kubectl --kubeconfig {visible(output)} auth whoami\n")


@app.command(
    "list",
    epilog="Examples:\n\n  kubewitness kubeconfig list --user alice\n\n  kubewitness kubeconfig list --all -o json",
)
def list_credentials(
    user: Annotated[
        str,
        typer.Option(
            "--user",
            "-u",
            autocompletion=complete_user,
            help="Only this user's.",
            show_default=False,
        ),
    ] = "",
    everything: EndedOption = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """List the credentials that were issued."""
    client = connect(data_dir, via)
    items = list(client.pages("/credentials", {"user": user, "all": everything}))
    _show(
        form,
        items,
        "No credentials." if everything else "No valid credentials; --all shows the others, too.",
    )


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness kubeconfig revoke 4f0c62b1 --yes --reason 'laptop stolen'\n\n"
    "  kubewitness kubeconfig revoke --user alice --yes"
)
def revoke(
    serial: Annotated[
        str,
        typer.Argument(
            autocompletion=complete_serial, help="Serial, as `kubeconfig list` shows it."
        ),
    ] = "",
    user: Annotated[
        str,
        typer.Option(
            "--user",
            "-u",
            autocompletion=complete_user,
            help="Revoke all of this user's.",
            show_default=False,
        ),
    ] = "",
    reason: ReasonOption = "",
    yes: YesOption = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Revoke credentials: the next call is refused and open streams are cut within a second.

    With --user also their API tokens. Grants stay.
    """
    if bool(serial) == bool(user):
        raise InvalidInputError("Say what to revoke: a serial, or --user.")
    client = connect(data_dir, via)
    if user:
        confirm(f"Revoke everything {user} has?", yes=yes)
        answer = client.post("/credentials/revoke", {"user": user, "reason": reason})
    else:
        whole = _whole_serial(client, serial)
        confirm(f"Revoke {whole}?", yes=yes)
        answer = client.post(path_of("credentials", whole, "revoke"), {"reason": reason})
    tokens = answer.get("tokens") or ()
    _show(form, answer["items"], "" if tokens else "Nothing to revoke: all of it had ended before.")
    for token in tokens:
        say(f"The API token {token} is revoked, too.")


def _whole_serial(client: "Client", serial: str) -> str:
    """A serial that a person may have cut short, as long as it is the only one."""
    serial = serial.lower()
    if len(serial) >= 30:
        return serial
    items = list(client.pages("/credentials", {"all": True}))
    found = [item["serial"] for item in items if item["serial"].startswith(serial)]
    if len(found) > 1:
        raise InvalidInputError(
            f"{len(found)} serials begin with {serial!r}.", hint="Write more of it."
        )
    return str(found[0]) if found else serial


def _show(form: Format, items: list[dict[str, Any]], empty: str) -> None:
    rows = [
        (
            item["serial"],
            item["user"],
            ",".join(item["groups"]),
            ",".join(item["clusters"]),
            item["usage"],
            item["status"],
            local(item["notAfter"]),
            item.get("revokedReason", ""),
        )
        for item in items
    ]
    show(form, items, _COLUMNS, rows, name="serial", empty=empty)
