"""`kubewitness context`: the control planes this person uses, and which one a command speaks to.

`~/.config/kubewitness/config.yaml` (mode 0600) holds them, as kubectl holds clusters. A context
either names a server with a credential (a certificate or an API token), or a data directory on this
machine, whose own admin credential is used.
"""

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from proxy.cli.output import Column, Format, show, to_json, to_yaml, visible, write
from proxy.environment import variable
from proxy.errors import InvalidInputError, NotFoundError

app = typer.Typer(
    help="Choose the kubewitness server that commands speak to.", no_args_is_help=True
)

FILE_MODE: Final = 0o600
_COLUMNS: Final = (
    Column("current", 1),
    Column("name", 8),
    Column("server", 12),
    Column("data directory", 12, 1),
)

DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="KUBEWITNESS_DATA_DIR",
        help="Use the server that runs on this machine with this data directory.",
        show_default=False,
    ),
]
ViaOption = Annotated[
    str | None,
    typer.Option(
        "--via",
        envvar="KUBEWITNESS_CONTEXT",
        help="Use this context of ~/.config/kubewitness/config.yaml.",
        show_default=False,
    ),
]

FormOption = Annotated[Format, typer.Option("-o", "--output", help="Form of the output.")]
EndedOption = Annotated[
    bool, typer.Option("--all", "-a", help="Also those that expired or were revoked.")
]


@dataclass(frozen=True, slots=True)
class Context:
    """One entry of the file."""

    name: str
    server: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)
    """PEM, decoded."""
    token: str = field(default="", repr=False)
    """API token, instead of certificate and key."""
    data_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Contexts:
    """The whole file; an absent file has none."""

    path: Path
    current: str
    entries: dict[str, Context]

    def find(self, name: str) -> Context:
        """The context called `name`; raises NotFoundError that lists what there is."""
        if name not in self.entries:
            known = ", ".join(sorted(self.entries)) or "none"
            raise NotFoundError(f"{self.path} has no context {name!r}.", hint=f"It has: {known}.")
        return self.entries[name]


def default_path() -> Path:
    """KUBEWITNESS_CONFIG, or under XDG_CONFIG_HOME, or under ~/.config."""
    if given := variable("KUBEWITNESS_CONFIG"):
        return Path(given)
    base = Path(variable("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "kubewitness" / "config.yaml"


def load(path: Path | None = None) -> Contexts:
    """Read the context file; raises InvalidInputError naming what is wrong in it."""
    path = path or default_path()
    document = read_document(path)
    entries: dict[str, Context] = {}
    for number, entry in enumerate(document.get("contexts") or []):
        if not isinstance(entry, dict) or not entry.get("name"):
            raise InvalidInputError(f"{path}: contexts[{number}] must be a mapping with a name.")
        name = str(entry["name"])
        entries[name] = decode(entry, name, f"{path}: context {name!r}")
    return Contexts(path, str(document.get("current-context") or ""), entries)


def decode(entry: dict[str, Any], name: str, where: str) -> Context:
    """A context from its mapping; raises InvalidInputError naming `where` and the field."""
    return Context(
        name=name,
        server=str(entry.get("server") or ""),
        ca=_pem(entry, "ca-data", where),
        certificate=_pem(entry, "client-certificate-data", where),
        key=_pem(entry, "client-key-data", where),
        token=str(entry.get("token") or ""),
        data_dir=Path(str(entry["data-dir"])) if entry.get("data-dir") else None,
    )


def read_document(path: Path) -> dict[str, Any]:
    """The file as it stands; empty when there is none. Raises InvalidInputError."""
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.") from error
    except yaml.YAMLError:
        # Not chained: the text around the error may be a key.
        raise InvalidInputError(f"{path} is not YAML.") from None
    if document is not None and not isinstance(document, dict):
        raise InvalidInputError(f"{path}: the top level must be a mapping.")
    return document or {}


def _pem(entry: dict[str, Any], field: str, where: str) -> str:
    value = str(entry.get(field) or "")
    try:
        return base64.b64decode(value, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise InvalidInputError(f"{where}: {field} is not base64 of a PEM file.") from None


def _save_current(contexts: Contexts, name: str) -> None:
    import yaml

    from proxy.files import replace_private

    document = read_document(contexts.path) | {"current-context": name}
    text = yaml.safe_dump(document, sort_keys=False)
    replace_private(contexts.path, text.encode())


def complete_context(incomplete: str) -> list[str]:
    """Names of contexts, for the shell."""
    try:
        return [name for name in load().entries if name.startswith(incomplete)]
    except (InvalidInputError, OSError):
        return []


@app.command("list", epilog="Example:  kubewitness context list -o name")
def list_contexts(
    form: FormOption = Format.TABLE,
) -> None:
    """List the contexts; the current one has a star. Keys and tokens are never shown."""
    contexts = load()
    items = [_public(item, contexts) for item in contexts.entries.values()]
    rows = [
        ("*" if item["current"] else "", item["name"], item["server"], item["data-dir"])
        for item in items
    ]
    empty = f"No contexts in {contexts.path}. `kubewitness init` writes the first."
    show(form, items, _COLUMNS, rows, empty=empty)


@app.command(epilog="Example:  kubewitness context use production")
def use(
    name: Annotated[str, typer.Argument(autocompletion=complete_context, help="Its name.")],
) -> None:
    """Make a context the current one."""
    contexts = load()
    contexts.find(name)
    _save_current(contexts, name)
    write(f"Using context {visible(name)}.\n")


@app.command("show", epilog="Example:  kubewitness context show -o json")
def show_context(
    name: Annotated[
        str, typer.Argument(autocompletion=complete_context, help="Its name; default: the current.")
    ] = "",
    form: Annotated[
        Format, typer.Option("-o", "--output", help="yaml, json or name.")
    ] = Format.YAML,
) -> None:
    """Show one context. Keys and tokens are never shown."""
    contexts = load()
    wanted = name or contexts.current
    if not wanted:
        raise NotFoundError(
            f"No context is current in {contexts.path}.",
            hint="Choose one with `kubewitness context use NAME`.",
        )
    item = _public(contexts.find(wanted), contexts)
    if form is Format.JSON:
        write(to_json(item) + "\n")
    elif form is Format.NAME:
        write(f"{visible(wanted)}\n")
    else:
        write(to_yaml(item))


def _public(item: Context, contexts: Contexts) -> dict[str, Any]:
    return {
        "name": item.name,
        "current": item.name == contexts.current,
        "server": item.server,
        "data-dir": str(item.data_dir) if item.data_dir else "",
        "credential": _credential(item),
    }


def _credential(item: Context) -> str:
    if item.token:
        return "an API token in the context file"
    return "in the context file" if item.key else "of the data directory"
