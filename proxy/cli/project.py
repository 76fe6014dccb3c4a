"""`kubewitness project`: clusters, whole or by namespaces, that belong together."""

from typing import Annotated, Any, Final

import typer

from proxy.cli.asking import ReasonOption, YesOption, confirm, confirm_about
from proxy.cli.completion import complete_place, complete_project
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.output import Column, Format, say, show, visible
from proxy.cli.scoping import place_words, places_of
from proxy.cli.showing import facts, show_one
from proxy.errors import InvalidInputError

app = typer.Typer(help="Manage projects: what belongs together.", no_args_is_help=True)

_COLUMNS: Final = (
    Column("name", 8),
    Column("clusters", 16),
    Column("description", 10, 1),
    Column("created", rank=2, whole=True),
    Column("created by", 6, 3),
)

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", autocompletion=complete_project, help="Name of the project."),
]


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness project add shop --cluster prod --cluster test:web,api\n\n"
    "  kubewitness project add data --description 'the warehouse'"
)
def add(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="What to call it: lower-case letters, digits, hyphens."
        ),
    ],
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            "--cluster",
            "-c",
            metavar="CLUSTER[:NAMESPACE,…]",
            autocompletion=complete_place,
            help="A cluster of it, whole, or only these namespaces; repeat it.",
        ),
    ] = None,
    description: Annotated[
        str, typer.Option("--description", help="What it is for.", show_default=False)
    ] = "",
    reason: ReasonOption = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Add a project."""
    places = places_of(cluster or [])
    body = {"name": name, "places": places, "description": description, "reason": reason}
    made = connect(data_dir, via).post("/projects", body)
    _tell(form, made, f"Added project {made['name']}{_with(made)}.")


@app.command("list", epilog="Example:  kubewitness project list")
def list_projects(
    form: FormOption = Format.TABLE, data_dir: DataDirOption = None, via: ViaOption = None
) -> None:
    """List the projects."""
    items = list(connect(data_dir, via).pages("/projects"))
    empty = "No projects yet. Add one with `kubewitness project add NAME --cluster C`."
    show(form, items, _COLUMNS, [_row(item) for item in items], empty=empty)


@app.command("show", epilog="Example:  kubewitness project show shop")
def show_project(
    name: NameArgument,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Show a project: its clusters and namespaces, and who was granted something in it."""
    from proxy.cli.grant import on_page

    client = connect(data_dir, via)
    item = client.get(path_of("projects", name))
    page = ""
    if form is Format.TABLE:
        page = _page(item) + on_page(client, {"project": item["name"]}, whom="to")
    show_one(form, item, page, _COLUMNS, _row(item))


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness project change shop --add-cluster test:web,api\n\n"
    "  kubewitness project change shop --remove-cluster prod --yes"
)
def change(
    name: NameArgument,
    add_cluster: Annotated[
        list[str] | None,
        typer.Option(
            "--add-cluster",
            metavar="CLUSTER[:NAMESPACE,…]",
            autocompletion=complete_place,
            help="Add a cluster, or say anew which namespaces of it; repeat it.",
            show_default=False,
        ),
    ] = None,
    remove_cluster: Annotated[
        list[str] | None,
        typer.Option(
            "--remove-cluster",
            autocompletion=complete_place,
            help="Take a cluster out of it; repeat it.",
            show_default=False,
        ),
    ] = None,
    description: Annotated[
        str | None, typer.Option("--description", help="What it is for.", show_default=False)
    ] = None,
    reason: ReasonOption = "",
    yes: YesOption = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Change a project; grants in it reach what it holds from the next call on."""
    client = connect(data_dir, via)
    before, version = client.versioned(path_of("projects", name))
    body: dict[str, Any] = {}
    if add_cluster or remove_cluster:
        body["places"] = _places(before, add_cluster or [], remove_cluster or [])
    if description is not None:
        body["description"] = description
    if not body:
        raise InvalidInputError(
            "Say what to change.", hint="--add-cluster, --remove-cluster or --description."
        )
    if remove_cluster:
        gone = ", ".join(remove_cluster)
        confirm(f"Take {gone} out of {name}? Grants in {name} end there", yes=yes)
    made = client.change(
        "PATCH", path_of("projects", name), body | {"reason": reason}, version=version
    )
    _tell(form, made, f"Changed project {made['name']}{_with(made)}.")


@app.command(epilog="Example:  kubewitness project remove shop --reason 'closed' --yes")
def remove(
    name: NameArgument,
    reason: ReasonOption = "",
    yes: YesOption = False,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Remove a project. Refused while something is granted in it; its clusters stay."""
    client = connect(data_dir, via)
    confirm_about(client, path_of("projects", name), f"Remove project {name}?", yes=yes)
    client.delete(path_of("projects", name), {"reason": reason})
    say(f"Removed project {name}.")


def _places(before: dict[str, Any], add: list[str], remove: list[str]) -> list[dict[str, Any]]:
    places = {place["cluster"]: place for place in before["places"]}
    for cluster in remove:
        if places.pop(cluster, None) is None:
            raise InvalidInputError(f"{before['name']} has no cluster {cluster!r}.")
    places |= {place["cluster"]: place for place in places_of(add)}
    return list(places.values())


def _page(item: dict[str, Any]) -> str:
    from proxy.cli.moments import local

    return facts(
        [
            ("Name", item["name"]),
            ("Description", item["description"]),
            ("Clusters", "  ".join(map(place_words, item["places"])) or "none"),
            ("Created", f"{local(item['createdAt'])} by {item['createdBy']}"),
        ]
    )


def _with(item: dict[str, Any]) -> str:
    return f": {', '.join(map(place_words, item['places']))}" if item["places"] else ""


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    from proxy.cli.moments import local

    return (
        item["name"],
        " ".join(map(place_words, item["places"])),
        item["description"],
        local(item["createdAt"]),
        item["createdBy"],
    )


def _tell(form: Format, item: dict[str, Any], sentence: str) -> None:
    show_one(form, item, visible(sentence) + "\n", _COLUMNS, _row(item))
