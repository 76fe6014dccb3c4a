"""`kubewitness cluster`: the clusters behind the proxy."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from proxy.cli.asking import ReasonOption, YesOption, confirm
from proxy.cli.completion import complete_cluster
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.output import Column, Format, say, show, to_json, to_yaml, visible, write
from proxy.errors import InvalidInputError

if TYPE_CHECKING:
    from proxy.upstream.access import Access

app = typer.Typer(help="Manage the clusters behind the proxy.", no_args_is_help=True)

_COLUMNS: Final = (
    Column("name", 8),
    Column("server", 16),
    Column("added", rank=2, whole=True),
    Column("account", 12, 1),
)
_MINIMAL: Final = "may only impersonate"
_EXCESS: Final = "may do more; see `cluster check`"

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", autocompletion=complete_cluster, help="Name of the cluster."),
]

KubeconfigOption = Annotated[
    Path | None,
    typer.Option(
        help="Kubeconfig with the proxy's own account there.",
        envvar="KUBECONFIG",
        show_default=False,
    ),
]
ContextOption = Annotated[
    str,
    typer.Option(help="Context of the kubeconfig; default: its current one.", show_default=False),
]
InClusterOption = Annotated[
    bool,
    typer.Option(
        "--in-cluster", help="The cluster that the proxy runs in, by its service account."
    ),
]


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness cluster add prod --kubeconfig ~/.kube/config --context prod-admin\n\n"
    "  kubewitness cluster add here --in-cluster"
)
def add(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="What to call it: lower-case letters, digits, hyphens."
        ),
    ],
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    in_cluster: InClusterOption = False,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Add a cluster.

    The account in the kubeconfig should be able to impersonate and nothing else;
    `kubewitness cluster bootstrap` prints a manifest that makes such an account.
    """
    client = connect(data_dir, via)
    body: dict[str, Any] = {"name": name, "inCluster": in_cluster}
    if not in_cluster:
        body["kubeconfig"] = reduced(name, kubeconfig, context)
    added = client.post("/clusters", body)
    write(f"Added cluster {visible(added['name'])} at {visible(added['server'])}.\n")
    _tell_note(added)


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness cluster change prod --kubeconfig prod.kubeconfig --reason 'token rotated'\n\n"
    "  kubewitness cluster change here --in-cluster"
)
def change(
    name: NameArgument,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    in_cluster: InClusterOption = False,
    reason: ReasonOption = "",
    yes: YesOption = False,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Reach a cluster with another account of the proxy's; kubeconfigs and grants stay good.

    The account is tried first. To name another server takes cluster.manage in the organization.
    """
    from proxy.reaching import place

    client = connect(data_dir, via)
    before, version = client.versioned(path_of("clusters", name))
    body: dict[str, Any] = {"inCluster": in_cluster, "reason": reason}
    if not in_cluster:
        access = _chosen(kubeconfig, context)
        if place(access.server) != place(before["server"]):
            confirm(
                f"{name} is at {before['server']}, and the kubeconfig says {access.server}. "
                "Is that the same cluster?",
                yes=yes,
            )
        body["kubeconfig"] = access.document(name).decode()
    made = client.change("PATCH", path_of("clusters", name), body, version=version)
    write(f"Changed cluster {visible(made['name'])} at {visible(made['server'])}.\n")
    _tell_note(made)


def _tell_note(item: dict[str, Any]) -> None:
    if item["note"]:
        say(f"Warning: {item['note']}")
        say(
            f"`kubewitness cluster bootstrap {item['name']}` prints an account that may only impersonate."
        )


def reduced(name: str, kubeconfig: Path | None, context: str) -> str:
    """The one context as a kubeconfig of its own, the files it names embedded."""
    return _chosen(kubeconfig, context).document(name).decode()


def _chosen(kubeconfig: Path | None, context: str) -> "Access":
    """What the one context says."""
    from proxy.pki.kubeconfig import read_kubeconfig
    from proxy.upstream.access import read_access

    path = (kubeconfig or Path.home() / ".kube" / "config").expanduser()
    if ":" in str(path) and not path.exists():
        raise InvalidInputError(
            "KUBECONFIG names several files.", hint="Name the one to use with --kubeconfig."
        )
    access = read_access(read_kubeconfig(path), context=context or None, base=path.resolve().parent)
    for warning in access.warnings:
        say(f"Warning: {warning}")
    return access


@app.command("list", epilog="Example:  kubewitness cluster list -o name")
def list_clusters(
    form: FormOption = Format.TABLE, data_dir: DataDirOption = None, via: ViaOption = None
) -> None:
    """List the clusters."""
    items = connect(data_dir, via).get("/clusters")["items"]
    from proxy.cli.moments import local

    rows = [
        (
            item["name"],
            item["server"],
            local(item["createdAt"]),
            _EXCESS if item["note"] else _MINIMAL,
        )
        for item in items
    ]
    empty = "No clusters yet. Add one with `kubewitness cluster add NAME --kubeconfig F`."
    show(form, items, _COLUMNS, rows, empty=empty)


@app.command(epilog="Example:  kubewitness cluster check prod")
def check(
    name: NameArgument,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Connect to a cluster and look what the proxy's account may do there."""
    seen = connect(data_dir, via).post(path_of("clusters", name, "check"))
    if form is Format.JSON:
        write(to_json(seen) + "\n")
    elif form is Format.YAML:
        write(to_yaml(seen))
    elif form is Format.NAME:
        write(f"{visible(seen['name'])}\n")
    else:
        version = f" is Kubernetes {seen['version']}" if seen["version"] else " answers"
        write(f"{visible(seen['name'])} at {visible(seen['server'])}{visible(version)}.\n")
        write(visible(seen["note"] or "The proxy's account there may only impersonate.") + "\n")


@app.command(epilog="Example:  kubewitness cluster remove old --reason 'moved' --yes")
def remove(
    name: NameArgument,
    reason: ReasonOption = "",
    yes: YesOption = False,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Remove a cluster; calls to it are refused from then on. Its records stay."""
    client = connect(data_dir, via)
    confirm(f"Remove cluster {name}? Calls to it will be refused", yes=yes)
    client.delete(path_of("clusters", name), {"reason": reason})
    say(f"Removed cluster {name}. What was recorded of it stays.")


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness cluster bootstrap prod --group dev | kubectl apply -f -\n\n"
    "  kubewitness cluster bootstrap local --rights --namespace web | kubectl apply -f -"
)
def bootstrap(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name the cluster will have here.")],
    group: Annotated[
        list[str] | None,
        typer.Option("--group", "-g", help="A group that may be impersonated; repeat it."),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user",
            "-u",
            help="A user that may be impersonated; repeat it. Default: any user.",
            show_default=False,
        ),
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace",
            "-n",
            help="A namespace in which something is granted by itself; repeat it.",
            show_default=False,
        ),
    ] = None,
    rights: Annotated[
        bool,
        typer.Option(
            "--rights",
            help="Only what the groups of grants may do, without the account: it was made otherwise. "
            "The Helm chart makes both.",
        ),
    ] = False,
) -> None:
    """Print the manifest of an account that may impersonate and nothing else.

    It also binds the groups that grants give (kubewitness:ROLE) to what they may do there. Works
    without a server. Apply it to the cluster with an administrator's kubeconfig.
    """
    from proxy.upstream.bootstrap import manifest
    from proxy.upstream.rights import manifest as rights_manifest

    if rights and (group or user):
        raise InvalidInputError(
            "--rights is without the account that --group and --user are about."
        )
    if rights:
        write(rights_manifest(namespace or []))
        return
    write(manifest(name, group or [], users=user or [], namespaces=namespace or []))
