"""`kubewitness cluster reconcile`: a cluster's RoleBindings kept in step with the grants."""

from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.cli.completion import complete_cluster
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.output import Format, to_json, to_yaml, visible, write
from proxy.errors import InvalidInputError


def reconcile(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", autocompletion=complete_cluster, help="Name of the cluster."
        ),
    ],
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            help="Kubeconfig of the second account there, which may manage RoleBindings.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str,
        typer.Option(
            help="Context of the kubeconfig; default: its current one.", show_default=False
        ),
    ] = "",
    enforce: Annotated[
        bool,
        typer.Option("--enforce", help="Mend what differs from the grants, not only report it."),
    ] = False,
    off: Annotated[
        bool, typer.Option("--off", help="Look after them no more; what was made stays.")
    ] = False,
    manifest: Annotated[
        bool,
        typer.Option(
            "--manifest", help="Print the manifest of the second account, and do nothing."
        ),
    ] = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Keep a cluster's RoleBindings in step with the grants, or show what differs.

    Grants in namespaces reach the cluster as groups, and its own rules have to allow them. With a
    second account that may manage RoleBindings and nothing else, kubewitness makes them, or tells
    you which are missing, altered or left over.
    """
    if sum((kubeconfig is not None, off, manifest)) > 1:
        raise InvalidInputError("Give one of --kubeconfig, --off and --manifest.")
    if enforce and kubeconfig is None:
        raise InvalidInputError("--enforce goes with --kubeconfig, also when it was given before.")
    if manifest:
        from proxy.upstream.second_account import manifest as document

        write(document(name))
        return
    client = connect(data_dir, via)
    path = path_of("clusters", name, "reconciler")
    if off:
        client.delete(path)
        write(f"RoleBindings of {visible(name)} are looked after no more; what was made stays.\n")
        return
    if kubeconfig is None:
        _show(form, client.get(path))
        return
    from proxy.cli.cluster import reduced

    body = {"kubeconfig": reduced(name, kubeconfig, context), "enforce": enforce}
    _show(form, client.change("PUT", path, body))


def _show(form: Format, item: dict[str, Any]) -> None:
    if form is Format.JSON:
        write(to_json(item) + "\n")
    elif form is Format.YAML:
        write(to_yaml(item))
    elif form is Format.NAME:
        write(f"{visible(item['cluster'])}\n")
    else:
        what = "are mended" if item["enforce"] else "are reported, not mended"
        write(
            f"RoleBindings of {visible(item['cluster'])} at {visible(item['server'])} are looked "
            f"after: differences from the grants {what}.\n"
        )
        write("".join(f"  {visible(line)}\n" for line in item["drift"]) or "Nothing differs now.\n")


def register(app: typer.Typer) -> None:
    """Add the command to `kubewitness cluster`."""
    app.command(
        epilog="Examples:\n\n"
        "  kubewitness cluster reconcile prod --manifest | kubectl apply -f -\n\n"
        "  kubewitness cluster reconcile prod --kubeconfig prod-rolebindings.kubeconfig --enforce\n\n"
        "  kubewitness cluster reconcile prod"
    )(reconcile)
