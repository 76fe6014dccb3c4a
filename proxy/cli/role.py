"""`kubewitness role`: what a grant gives, built in or of your own."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from proxy.cli.asking import ReasonOption, YesOption, confirm_about
from proxy.cli.completion import complete_role
from proxy.cli.connection import connect, path_of
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.output import Column, Format, say, show, visible
from proxy.cli.showing import facts, show_one
from proxy.errors import InvalidInputError

app = typer.Typer(help="Look at roles, and make your own.", no_args_is_help=True)

_COLUMNS: Final = (
    Column("name", whole=True),
    Column("built in", 8, 2),
    Column("granted in", 12, 1, wrap=True),
    Column("clusters", 8),
    Column("description", 24, 3, wrap=True),
)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=complete_role, help="Name of the role.")
]


@app.command("list", epilog="Example:  kubewitness role list")
def list_roles(
    form: FormOption = Format.TABLE, data_dir: DataDirOption = None, via: ViaOption = None
) -> None:
    """List the roles, those that are built in first."""
    items = sorted(connect(data_dir, via).pages("/roles"), key=lambda item: not item["builtIn"])
    show(form, items, _COLUMNS, [_row(item) for item in items])


@app.command("show", epilog="Example:  kubewitness role show namespace-read-only")
def show_role(
    name: NameArgument,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Show a role: every permission and every rule of it."""
    item = connect(data_dir, via).get(path_of("roles", name))
    show_one(form, item, _page(item), _COLUMNS, _row(item))


@app.command(
    epilog="Examples:\n\n"
    "  kubewitness role add -f deployer.yaml\n\n"
    "  kubewitness role add -f deployer.yaml --replace"
)
def add(
    file: Annotated[
        Path,
        typer.Option(
            "-f",
            "--file",
            help="YAML document of kind Role, as `apply` takes it; - is standard input.",
        ),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the role of that name.")
    ] = False,
    reason: ReasonOption = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Add a role of your own: permissions here, and rules for requests to clusters."""
    from proxy.cli.documents import read

    documents = read([str(file)])
    if len(documents) != 1 or documents[0].kind != "Role":
        raise InvalidInputError(
            f"{file} must hold one document of kind Role.",
            hint="For several documents there is `kubewitness apply -f`.",
        )
    client = connect(data_dir, via)
    role = {"name": documents[0].name, **documents[0].spec}
    if replace:
        path = path_of("roles", documents[0].name)
        _, version = client.versioned(path)
        made = client.change("PUT", path, role | {"reason": reason}, version=version)
    else:
        made = client.post("/roles", role | {"reason": reason})
    done = "Replaced" if replace else "Added"
    sentence = f"{done} role {made['name']}.\n"
    show_one(form, made, visible(sentence.strip()) + "\n", _COLUMNS, _row(made))


@app.command(epilog="Example:  kubewitness role remove deployer --yes")
def remove(
    name: NameArgument,
    reason: ReasonOption = "",
    yes: YesOption = False,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Remove a role of your own. Refused while it is granted to somebody."""
    client = connect(data_dir, via)
    confirm_about(client, path_of("roles", name), f"Remove role {name}?", yes=yes)
    client.delete(path_of("roles", name), {"reason": reason})
    say(f"Removed role {name}.")


def rule_words(rule: dict[str, Any]) -> str:
    """A rule in one line: `get, list pods, deployments.apps in web`."""
    verbs = ", ".join(rule.get("verbs") or ())
    if rule.get("paths"):
        return f"{verbs} {', '.join(rule['paths'])}"
    groups = [group or "core" for group in rule.get("apiGroups") or ()]
    of = f" of {', '.join(groups)}" if groups and groups != ["core"] else ""
    names = f" named {', '.join(rule['names'])}" if rule.get("names") else ""
    inside = f" in {', '.join(rule['namespaces'])}" if rule.get("namespaces") else ""
    return f"{verbs} {', '.join(rule.get('resources') or ())}{of}{names}{inside}"


def _page(item: dict[str, Any]) -> str:
    text = facts(
        [
            ("Name", item["name"]),
            ("Description", item["description"]),
            ("Built in", "yes" if item["builtIn"] else "no"),
            ("Granted in", ", ".join(item["scopes"])),
            ("In clusters", _clusters(item)),
            ("Groups there", ", ".join(item["kubernetesGroups"])),
        ]
    )
    parts = [
        ("Permissions", sorted(item["permissions"])),
        ("Allows", [rule_words(rule) for rule in item["rules"]]),
        ("Denies", [rule_words(rule) for rule in item["denies"]]),
    ]
    for title, found in parts:
        if found:
            text += f"\n{title}\n" + "".join(f"  {visible(line)}\n" for line in found)
    return text


def _clusters(item: dict[str, Any]) -> str:
    return f"{len(item['rules'])} rules" if item["rules"] else str(item["clusters"])


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    return (
        item["name"],
        "yes" if item["builtIn"] else "",
        ", ".join(item["scopes"]),
        _clusters(item),
        item["description"],
    )
