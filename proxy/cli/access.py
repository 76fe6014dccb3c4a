"""`kubewitness access`: why somebody may do something, or may not."""

from typing import Annotated, Any, Final

import typer

from proxy.cli.completion import complete_cluster, complete_group, complete_user
from proxy.cli.connection import connect
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.output import Column, Format, table, terminal_width, visible
from proxy.cli.scoping import words
from proxy.cli.showing import show_one

app = typer.Typer(help="Ask why somebody may do something, or may not.", no_args_is_help=True)

VERBS: Final = (
    "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "exec",
    "attach", "port-forward",
)  # fmt: skip
_GROUPS: Final = {
    "apps": "daemonsets deployments replicasets statefulsets",
    "autoscaling": "horizontalpodautoscalers",
    "batch": "cronjobs jobs",
    "networking.k8s.io": "ingresses ingressclasses networkpolicies",
    "policy": "poddisruptionbudgets",
    "rbac.authorization.k8s.io": "clusterrolebindings clusterroles rolebindings roles",
    "storage.k8s.io": "csidrivers csinodes storageclasses volumeattachments",
    "apiextensions.k8s.io": "customresourcedefinitions",
    "certificates.k8s.io": "certificatesigningrequests",
    "coordination.k8s.io": "leases",
    "scheduling.k8s.io": "priorityclasses",
}
"""Groups of Kubernetes' own resources that are not of the core group, so that `deploy` will do."""
_CONSIDERED: Final = (
    Column("role", 17),
    Column("where", 12, wrap=True),
    Column("says", 16, wrap=True),
    Column("grant", rank=1, whole=True),
)
_COLUMNS: Final = (
    Column("user", 8),
    Column("verb", 6),
    Column("resource", 8),
    Column("cluster", 8),
    Column("namespace", 8),
    Column("allowed", 7),
    Column("why", 16),
)
_DENIED: Final = 1


def _complete_verb(incomplete: str) -> list[str]:
    return [verb for verb in VERBS if verb.startswith(incomplete)]


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness access explain rob get pods -n default --cluster prod\n\n"
    "  kubewitness access explain rob exec pods web-0 -n default --cluster prod\n\n"
    "  kubewitness access explain ci get /metrics --cluster prod -o json"
)
def explain(
    user: Annotated[
        str, typer.Argument(metavar="USER", autocompletion=complete_user, help="Who would do it.")
    ],
    verb: Annotated[
        str,
        typer.Argument(
            metavar="VERB", autocompletion=_complete_verb, help="As kubectl auth can-i has it."
        ),
    ],
    resource: Annotated[
        str,
        typer.Argument(
            metavar="RESOURCE",
            help="pods, deploy, deployments.apps, pods/exec, or a path: /metrics.",
        ),
    ],
    cluster: Annotated[
        str,
        typer.Option("--cluster", "-c", autocompletion=complete_cluster, help="In which cluster."),
    ],
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Of the object; default: any.")
    ] = "",
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="In which namespace; default: none, or all.",
            show_default=False,
        ),
    ] = "",
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            "-g",
            autocompletion=complete_group,
            help="A group of the certificate of somebody who is not registered; repeat it.",
        ),
    ] = None,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Say whether somebody may do something in a cluster, and which grant says so or what is missing.

    The exit code is 0 when a grant allows it, and 1 when none does: also of somebody who is not
    registered, for whom the cluster's own rules decide.
    """
    asked = {
        "user": user,
        "groups": group or [],
        "cluster": cluster,
        "verb": verb.lower(),
        "namespace": namespace,
        "name": name,
        **_target(resource),
    }
    said = connect(data_dir, via).post("/access/explain", asked)
    allowed = bool(said["allowed"])
    row = (user, verb, resource, cluster, namespace, _word(said), said["why"])
    item = said | {"name": row[5]} if form is Format.NAME else said
    show_one(form, item, _page(said), _COLUMNS, row)
    if not allowed:
        raise typer.Exit(_DENIED)


def _target(resource: str) -> dict[str, str]:
    """A resource, or a path, in the words of the API."""
    from proxy.audit.resources import parse_resource

    if resource.startswith("/"):
        return {"path": resource}
    found = parse_resource(resource)
    group = found.api_group
    if group is None:
        group = next((name for name in _GROUPS if found.resource in _GROUPS[name].split()), "")
    target = {"resource": found.resource, "apiGroup": group}
    if found.subresource:
        target["subresource"] = found.subresource
    return target


def _word(said: dict[str, Any]) -> str:
    if said["allowed"]:
        return "yes"
    return "no" if said["governed"] else "not by a grant"


def _page(said: dict[str, Any]) -> str:
    text = f"{_word(said)}: {said['why']}"
    lines = [visible(text)]
    lines += [visible(f"Missing: {item}") for item in said["missing"]]
    considered = [
        (item["role"], words(item["scope"]), item["verdict"], item["grant"])
        for item in said["considered"]
    ]
    page = "\n".join(lines) + "\n"
    if considered:
        page += "\n" + table(_CONSIDERED, considered, width=terminal_width())
    return page
