"""`kubewitness user`: who exists, and taking somebody's access away."""

from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from proxy.cli.asking import ReasonOption, YesOption, confirm_about
from proxy.cli.completion import complete_group, complete_registered
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.output import Column, Format, say, show, visible
from proxy.cli.showing import counted, facts, show_one
from proxy.errors import DeniedError, InvalidInputError

if TYPE_CHECKING:
    from proxy.cli.client import Client

app = typer.Typer(help="Manage people and service identities.", no_args_is_help=True)

_COLUMNS: Final = (
    Column("name", 8),
    Column("kind", 6, 3),
    Column("groups", 8, 1),
    Column("status", 8),
    Column("display name", 8, 4),
    Column("created", rank=2, whole=True),
    Column("created by", 6, 5),
)

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", autocompletion=complete_registered, help="Name of the user."),
]
GroupsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--group", "-g", autocompletion=complete_group, help="A group they are in; repeat it."
    ),
]


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness user add rob --group dev\n\n"
    "  kubewitness user add ci-shop --service --reason 'deploys the shop'"
)
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The user Kubernetes and the log will see.")
    ],
    group: GroupsOption = None,
    service: Annotated[
        bool, typer.Option("--service", help="A machine (CI, Prometheus), not a person.")
    ] = False,
    display_name: Annotated[
        str, typer.Option("--display-name", help="What people call them.", show_default=False)
    ] = "",
    reason: ReasonOption = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Register a user. From then on grants decide what they may do; without one, nothing."""
    body = {
        "name": name,
        "kind": "service" if service else "person",
        "groups": group or [],
        "displayName": display_name,
        "reason": reason,
    }
    made = connect(data_dir, via).post("/users", body)
    _tell(form, made, f"Added {made['name']}{_in_groups(made)}.")
    if form is Format.TABLE and not made["groups"]:
        say(
            "They may do nothing yet: "
            f"`kubewitness grant add --user {quote(name)} --role ROLE --cluster C`."
        )


@app.command("list", epilog="Example:  kubewitness user list --group dev -o name")
def list_users(
    group: Annotated[
        str,
        typer.Option(
            "--group",
            "-g",
            autocompletion=complete_group,
            help="Only members of this group.",
            show_default=False,
        ),
    ] = "",
    everyone: Annotated[
        bool, typer.Option("--all", "-a", help="Also those who are disabled or were removed.")
    ] = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """List the users."""
    items = [
        item
        for item in connect(data_dir, via).pages("/users")
        if (everyone or item["status"] == "active") and (not group or group in item["groups"])
    ]
    empty = "No users." if everyone else "No active users; --all shows the others, too."
    show(form, items, _COLUMNS, [_row(item) for item in items], empty=empty)


@app.command("show", epilog="Example:  kubewitness user show rob")
def show_user(
    name: NameArgument,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Show a user: groups, grants, and what they have to log in with."""
    client = connect(data_dir, via)
    item = client.get(path_of("users", name))
    page = _page(client, item) if form is Format.TABLE else ""
    show_one(form, item, page, _COLUMNS, _row(item))


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness user change rob --add-group ops --remove-group dev\n\n"
    "  kubewitness user change rob --display-name 'Rob Roy'"
)
def change(
    name: NameArgument,
    add_group: Annotated[
        list[str] | None,
        typer.Option(
            "--add-group",
            autocompletion=complete_group,
            help="Put them in a group; repeat it.",
            show_default=False,
        ),
    ] = None,
    remove_group: Annotated[
        list[str] | None,
        typer.Option(
            "--remove-group",
            autocompletion=complete_group,
            help="Take them out of a group; repeat it.",
            show_default=False,
        ),
    ] = None,
    display_name: Annotated[
        str | None, typer.Option("--display-name", help="What people call them.")
    ] = None,
    reason: ReasonOption = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Change somebody's groups or display name; it counts from their next call on."""
    client = connect(data_dir, via)
    before, version = client.versioned(path_of("users", name))
    body: dict[str, Any] = {}
    if add_group or remove_group:
        body["groups"] = _groups(before, add_group or [], remove_group or [])
    if display_name is not None:
        body["displayName"] = display_name
    if not body:
        raise InvalidInputError(
            "Say what to change.", hint="--add-group, --remove-group or --display-name."
        )
    made = client.change(
        "PATCH", path_of("users", name), body | {"reason": reason}, version=version
    )
    _tell(form, made, f"Changed {made['name']}{_in_groups(made)}.")


@app.command(epilog="Example:  kubewitness user disable rob --reason 'on leave' --yes")
def disable(
    name: NameArgument,
    reason: ReasonOption = "",
    yes: YesOption = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Refuse everything of a user, until `enable`: the next call fails, open streams are cut."""
    client = connect(data_dir, via)
    question = f"Disable {name}? Everything of theirs is refused"
    confirm_about(client, path_of("users", name), question, yes=yes)
    body = {"disabled": True, "reason": reason}
    made = client.change("PATCH", path_of("users", name), body)
    _tell(
        form, made, f"Disabled {made['name']}. Grants and credentials stay, and count for nothing."
    )


@app.command(epilog="Example:  kubewitness user enable rob --reason 'back'")
def enable(
    name: NameArgument,
    reason: ReasonOption = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Accept a disabled user again, with the grants and credentials that still stand."""
    body = {"disabled": False, "reason": reason}
    made = connect(data_dir, via).change("PATCH", path_of("users", name), body)
    _tell(form, made, f"Enabled {made['name']}.")


@app.command(epilog="Example:  kubewitness user remove rob --reason 'left' --yes")
def remove(
    name: NameArgument,
    reason: ReasonOption = "",
    yes: YesOption = False,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Remove a user: credentials and grants are revoked, open streams cut, the name stays taken.

    What they did stays in the log, and nobody else can ever be called the same.
    """
    client = connect(data_dir, via)
    question = f"Remove {name}? Every credential and grant of theirs is revoked"
    confirm_about(client, path_of("users", name), question, yes=yes)
    gone = client.delete(path_of("users", name), {"reason": reason}) or {}
    credentials, grants = gone.get("credentials") or (), gone.get("grants") or ()
    what = f"{counted(len(credentials), 'credential')} and {counted(len(grants), 'grant')}"
    say(f"Removed {name}: {what} revoked. What was recorded of them stays.")


def _groups(before: dict[str, Any], add: list[str], remove: list[str]) -> list[str]:
    absent = sorted(set(remove) - set(before["groups"]))
    if absent:
        raise InvalidInputError(f"{before['name']} is not in {', '.join(absent)}.")
    return sorted((set(before["groups"]) | set(add)) - set(remove))


def _in_groups(item: dict[str, Any]) -> str:
    return f", in {', '.join(item['groups'])}" if item["groups"] else ""


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    from proxy.cli.moments import local

    return (
        item["name"],
        item["kind"],
        ",".join(item["groups"]),
        item["status"],
        item["displayName"],
        local(item["createdAt"]),
        item["createdBy"],
    )


def _tell(form: Format, item: dict[str, Any], sentence: str) -> None:
    show_one(form, item, visible(sentence) + "\n", _COLUMNS, _row(item))


def _page(client: "Client", item: dict[str, Any]) -> str:
    from proxy.cli.moments import local

    why = f" ({item['disabledReason']})" if item.get("disabledReason") else ""
    return facts(
        [
            ("Name", item["name"]),
            ("Kind", item["kind"]),
            ("Display name", item["displayName"]),
            ("Status", item["status"] + why),
            ("Groups", ", ".join(item["groups"])),
            ("Created", f"{local(item['createdAt'])} by {item['createdBy']}"),
        ]
    ) + _may(client, item)


def _may(client: "Client", item: dict[str, Any]) -> str:
    """Grants and credentials, for whoever may see them."""
    from proxy.cli.grant import on_page

    text = on_page(
        client,
        {"user": item["name"]},
        *({"group": group} for group in item["groups"]),
        whom="through",
        none="none: they may do nothing",
    )
    try:
        credentials = client.get("/credentials", {"user": item["name"]})["items"]
    except DeniedError as error:
        say(f"Not shown: {error.message}")
        return text
    return (
        f"{text}\n{counted(len(credentials), 'valid credential')}; see `kubeconfig list --user`\n"
    )
