"""`kubewitness grant`: who has which role, where, until when and why."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from proxy.cli import scoping
from proxy.cli.asking import ReasonOption, YesOption, confirm
from proxy.cli.completion import (
    complete_grant,
    complete_group,
    complete_registered,
    complete_role,
)
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, EndedOption, FormOption, ViaOption
from proxy.cli.output import Column, Format, say, show, visible
from proxy.cli.showing import counted, facts, show_one
from proxy.errors import DeniedError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from proxy.cli.client import Client

app = typer.Typer(help="Give roles to users and groups, and take them back.", no_args_is_help=True)

_COLUMNS: Final = (
    Column("id", whole=True),
    Column("to", 8, wrap=True),
    Column("role", 9, wrap=True),
    Column("where", 12, wrap=True),
    Column("expires", rank=2, whole=True),
    Column("status", 7, 1),
    Column("by", 6, 4),
    Column("reason", 10, 3, wrap=True),
)
_WHOLE_ID: Final = 36

UserOption = Annotated[
    str,
    typer.Option(
        "--user", "-u", autocompletion=complete_registered, help="This user.", show_default=False
    ),
]
GroupOption = Annotated[
    str,
    typer.Option(
        "--group", "-g", autocompletion=complete_group, help="This group.", show_default=False
    ),
]
RoleOption = Annotated[
    str,
    typer.Option(
        "--role", "-r", autocompletion=complete_role, help="This role.", show_default=False
    ),
]
IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        autocompletion=complete_grant,
        help="Of the grant, as `grant list` shows it.",
        show_default=False,
    ),
]


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness grant add --user rob --role namespace-read-only --cluster prod --namespace default "
    "--expires 30d --reason 'on call'\n\n"
    "  kubewitness grant add --group dev --role project-admin --project shop\n\n"
    "  kubewitness grant add --user ann --role admin --organization"
)
def add(
    role: Annotated[
        str, typer.Option("--role", "-r", autocompletion=complete_role, help="The role to give.")
    ],
    user: UserOption = "",
    group: GroupOption = "",
    organization: scoping.OrganizationOption = False,
    project: scoping.ProjectOption = "",
    cluster: scoping.ClusterOption = "",
    namespace: scoping.NamespaceOption = "",
    expires: Annotated[
        str,
        typer.Option(
            "--expires",
            help="When it ends: 8h or 30d from now, or a time; default: when it is revoked.",
            show_default=False,
        ),
    ] = "",
    reason: ReasonOption = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Give a role to a user or a group, somewhere. It counts from the next call on."""
    if bool(user) == bool(group):
        raise InvalidInputError(
            "Say to whom: --user or --group, not both."
            if user
            else "Say to whom: --user or --group."
        )
    body: dict[str, Any] = {
        "subject": {"kind": "user" if user else "group", "name": user or group},
        "role": role,
        "scope": scoping.required_scope(
            organization=organization, project=project, cluster=cluster, namespace=namespace
        ),
        "reason": reason,
    }
    if expires:
        body["expiresAt"] = scoping.end_of(expires)
    made = connect(data_dir, via).post("/grants", body)
    sentence = f"Granted {made['role']} to {_whom(made)}: {_where(made)}{_until(made)}."
    show_one(form, made, f"{visible(sentence)}\nGrant {made['id']}\n", _COLUMNS, _row(made), name="id")  # fmt: skip


@app.command(
    "list",
    epilog="Examples:\n\n"
    "  kubewitness grant list --user rob\n\n"
    "  kubewitness grant list --cluster prod --all -o csv",
)
def list_grants(
    user: UserOption = "",
    group: GroupOption = "",
    role: RoleOption = "",
    project: scoping.ProjectOption = "",
    cluster: scoping.ClusterOption = "",
    everything: EndedOption = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """List the grants, newest first. Those to a user's groups are the groups'."""
    query = {
        "user": user, "group": group, "role": role, "project": project, "cluster": cluster,
        "all": everything,
    }  # fmt: skip
    items = list(connect(data_dir, via).pages("/grants", query))
    _show(form, items, "No grants." if everything else "No standing grants; --all shows the others, too.")  # fmt: skip


@app.command("show", epilog="Example:  kubewitness grant show 01a20ab2-7389-782b-bb9b-a725753387c5")
def show_grant(
    identity: IdArgument,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Show a grant: who gave it, when and why, and how it ended."""
    from proxy.cli.moments import local

    client = connect(data_dir, via)
    item = client.get(path_of("grants", _whole(client, identity)))
    ended = item.get("revokedAt") or ""
    page = facts(
        [
            ("Id", item["id"]),
            ("To", _whom(item)),
            ("Role", item["role"]),
            ("Where", _where(item)),
            ("Status", item["status"]),
            ("Expires", local(item.get("expiresAt") or "") or "never"),
            ("Granted", f"{local(item['createdAt'])} by {item['createdBy']}"),
            ("Reason", item["reason"]),
            ("Revoked", f"{local(ended)} by {item.get('revokedBy', '')}" if ended else ""),
            ("Because", item.get("revokedReason") or ""),
        ]
    )
    show_one(form, item, page, _COLUMNS, _row(item), name="id")


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness grant revoke 01a20ab2-7389-782b-bb9b-a725753387c5 --reason 'moved on'\n\n"
    "  kubewitness grant revoke --user rob --cluster prod --yes"
)
def revoke(
    identity: IdArgument = "",
    user: UserOption = "",
    group: GroupOption = "",
    role: RoleOption = "",
    project: scoping.ProjectOption = "",
    cluster: scoping.ClusterOption = "",
    reason: ReasonOption = "",
    yes: YesOption = False,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Revoke one grant, or all standing ones that the options choose. It counts within a second."""
    chosen = {"user": user, "group": group, "role": role, "project": project, "cluster": cluster}
    if bool(identity) == any(chosen.values()):
        raise InvalidInputError("Say what to revoke: an id, or --user, --group, --role, …")
    client = connect(data_dir, via)
    if identity:
        found = [client.get(path_of("grants", _whole(client, identity)))]
    else:
        found = list(client.pages("/grants", chosen))
    if not found:
        raise NotFoundError("No standing grant is like that.")
    what = "\n".join(f"  {_whom(item)}: {item['role']}, {_where(item)}" for item in found)
    confirm(f"{what}\nRevoke {counted(len(found), 'grant')}?", yes=yes)
    done = [
        client.post(path_of("grants", item["id"], "revoke"), {"reason": reason}) or item
        for item in found
    ]
    _show(form, done, "")


def on_page(client: "Client", *queries: dict[str, Any], whom: str = "", none: str = "none") -> str:
    """What was granted, as part of a page, for whoever may see it; `queries` say which grants.

    `whom` is the word before whoever has one: `to` for all, `through` for groups only.
    """
    try:
        grants = [grant for query in queries for grant in client.pages("/grants", query)]
    except DeniedError as error:
        say(f"Not shown: {error.message}")
        return ""
    told = [_line(item, whom) for item in grants] or [none]
    return "\nGrants\n" + "".join(f"  {visible(line)}\n" for line in told)


def _line(item: dict[str, Any], whom: str) -> str:
    told = whom == "to" or (whom and item["subject"]["kind"] == "group")
    subject = f" ({whom} {_whom(item)})" if told else ""
    return f"{item['role']}: {_where(item)}{_until(item)}{subject}"


def _whole(client: "Client", identity: str) -> str:
    """An id that a person may have cut short, as long as it is the only one."""
    identity = identity.lower()
    if len(identity) >= _WHOLE_ID or not identity:
        return identity
    found = {
        item["id"]
        for item in client.pages("/grants", {"all": True})
        if item["id"].startswith(identity)
    }
    if len(found) > 1:
        raise InvalidInputError(
            f"{len(found)} ids begin with {identity!r}.", hint="Write more of it."
        )
    return found.pop() if found else identity


def _whom(item: dict[str, Any]) -> str:
    return f"{item['subject']['kind']} {item['subject']['name']}"


def _where(item: dict[str, Any]) -> str:
    return scoping.words(item["scope"])


def _until(item: dict[str, Any]) -> str:
    from proxy.cli.moments import until

    return f", until {until(item['expiresAt'])}" if item.get("expiresAt") else ""


def _show(form: Format, items: list[dict[str, Any]], empty: str) -> None:
    show(form, items, _COLUMNS, [_row(item) for item in items], name="id", empty=empty)


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    from proxy.cli.moments import local

    return (
        item["id"],
        _whom(item),
        item["role"],
        _where(item),
        local(item.get("expiresAt") or ""),
        item["status"],
        item["createdBy"],
        item["reason"],
    )
