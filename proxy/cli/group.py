"""`kubewitness group`: groups of users, to be granted something together."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from proxy.cli.asking import ReasonOption, YesOption, confirm_about
from proxy.cli.completion import complete_group
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.output import Column, Format, say, show, visible
from proxy.cli.showing import counted, facts, show_one
from proxy.errors import DeniedError

if TYPE_CHECKING:
    from proxy.cli.client import Client

app = typer.Typer(help="Manage groups of users.", no_args_is_help=True)

_COLUMNS: Final = (
    Column("name", 8),
    Column("members", 7, right=True),
    Column("description", 10, 1),
    Column("created", rank=2, whole=True),
    Column("created by", 6, 3),
)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=complete_group, help="Name of the group.")
]
DescriptionOption = Annotated[
    str, typer.Option("--description", help="What it is for.", show_default=False)
]


@app.command(epilog="Example:  kubewitness group add dev --description 'builds the shop'")
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The group Kubernetes and the log will see.")
    ],
    description: DescriptionOption = "",
    reason: ReasonOption = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Add a group. Put users in it with `user add --group` or `user change --add-group`."""
    body = {"name": name, "description": description, "reason": reason}
    client = connect(data_dir, via)
    made = client.post("/groups", body)
    _tell(form, made, f"Added group {made['name']}.")
    if form is Format.TABLE:
        _say_governed(client, made["name"])


def _say_governed(client: "Client", name: str) -> None:
    """Who has the group in a certificate needs a grant from now on, and should not find out by a refusal."""
    try:
        held = {item["user"] for item in client.pages("/credentials") if name in item["groups"]}
    except DeniedError:
        return  # who may not see credentials is told nothing of them
    if held:
        from proxy.state.naming import some

        say(
            f"Grants decide from now on what {some(held)} may do, with {name} in the certificate: "
            f"without one, nothing. `kubewitness grant add --group {name} --role ROLE --cluster C`"
        )


@app.command("list", epilog="Example:  kubewitness group list -o name")
def list_groups(
    form: FormOption = Format.TABLE, data_dir: DataDirOption = None, via: ViaOption = None
) -> None:
    """List the groups."""
    items = list(connect(data_dir, via).pages("/groups"))
    empty = "No groups yet. Add one with `kubewitness group add NAME`."
    show(form, items, _COLUMNS, [_row(item) for item in items], empty=empty)


@app.command("show", epilog="Example:  kubewitness group show dev")
def show_group(
    name: NameArgument,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Show a group: who is in it, and what was granted to it."""
    from proxy.cli.grant import on_page

    client = connect(data_dir, via)
    item = client.get(path_of("groups", name))
    page = ""
    if form is Format.TABLE:
        page = _page(item) + on_page(client, {"group": item["name"]})
    show_one(form, item, page, _COLUMNS, _row(item))


@app.command(epilog="Example:  kubewitness group change dev --description 'builds all shops'")
def change(
    name: NameArgument,
    description: Annotated[str, typer.Option("--description", help="What it is for.")],
    reason: ReasonOption = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Change what a group is said to be for."""
    client = connect(data_dir, via)
    _, version = client.versioned(path_of("groups", name))
    body = {"description": description, "reason": reason}
    made = client.change("PATCH", path_of("groups", name), body, version=version)
    _tell(form, made, f"Changed group {made['name']}.")


@app.command(epilog="Example:  kubewitness group remove dev --reason 'merged into ops' --yes")
def remove(
    name: NameArgument,
    reason: ReasonOption = "",
    yes: YesOption = False,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Remove a group. Refused while something is granted to it; its members stay."""
    client = connect(data_dir, via)
    confirm_about(client, path_of("groups", name), f"Remove group {name}?", yes=yes)
    client.delete(path_of("groups", name), {"reason": reason})
    say(f"Removed group {name}.")


def _page(item: dict[str, Any]) -> str:
    from proxy.cli.moments import local

    return facts(
        [
            ("Name", item["name"]),
            ("Description", item["description"]),
            ("Created", f"{local(item['createdAt'])} by {item['createdBy']}"),
            (counted(len(item["members"]), "member").capitalize(), ", ".join(item["members"])),
        ]
    )


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    from proxy.cli.moments import local

    return (
        item["name"],
        len(item["members"]),
        item["description"],
        local(item["createdAt"]),
        item["createdBy"],
    )


def _tell(form: Format, item: dict[str, Any], sentence: str) -> None:
    show_one(form, item, visible(sentence) + "\n", _COLUMNS, _row(item))
