"""The nouns of the command line, each imported when it is used: `user list` reads no settings of `serve`."""

from collections.abc import Iterator, MutableMapping
from functools import cache
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup

NOUNS: Final = {
    "init": ("init",),
    "serve": ("serve",),
    "demo": ("demo",),
    "doctor": ("doctor",),
    "cluster": ("cluster", "cluster_reconcile"),
    "user": ("user", "user_investigation"),
    "group": ("group",),
    "project": ("project",),
    "role": ("role",),
    "grant": ("grant",),
    "access": ("access",),
    "apply": ("apply",),
    "kubeconfig": ("kubeconfig",),
    "token": ("api_token",),
    "session": ("session",),
    "settings": ("settings",),
    "authority": ("authority",),
    "audit": ("audit",),
    "context": ("context", "context_files"),
    "db": ("db",),
    "credential": ("credential",),
    "worker": ("serve",),
}
"""In the order of the help, with the modules of each: one that has an `app` is a noun with verbs of
its own; any other, or one that comes second, puts its commands there by `register`."""
HELP: Final = ["-h", "--help"]
_HIDDEN: Final = frozenset({"credential", "worker"})


class Nouns(TyperGroup):
    """The root: typer's own, with commands that are there when somebody asks for them."""

    def __init__(self, **given: Any) -> None:  # noqa: ANN401  # what typer hands to any group
        super().__init__(**given)
        in_words(self)
        self.commands = _Commands(self.commands)


class _Commands(MutableMapping[str, Any]):
    """Names of commands, each loaded when it is looked at; commands are typer's own type."""

    def __init__(self, made: MutableMapping[str, Any]) -> None:
        self._made = dict(made)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        if name not in self._made and name in NOUNS:
            self._made[name] = _load(name)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:  # noqa: ANN401
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in NOUNS or name in self._made

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*NOUNS, *self._made]))

    def __len__(self) -> int:
        return len({*NOUNS, *self._made})


@cache
def _load(name: str) -> Any:  # noqa: ANN401
    holder = typer.Typer(rich_markup_mode="rich")
    first, *others = (import_module(f"proxy.cli.{module}") for module in NOUNS[name])
    if not hasattr(first, "app"):
        first.register(holder)
    else:
        for module in others:
            module.register(first.app)
        holder.add_typer(first.app, name=name, hidden=name in _HIDDEN)
    return in_words(typer.main.get_group(holder).commands[name])


def in_words(command: Any) -> Any:  # noqa: ANN401  # typer's own type
    """The command, its help without words of Python: nothing after a flag, one value of a list.

    Arguments are in capitals everywhere, as an example of the command has them.
    """
    if command.help:
        # Where a line of the source ends is no end of a line in the help.
        command.help = "\n\n".join(part.replace("\n", " ") for part in command.help.split("\n\n"))
    for inner in getattr(command, "commands", {}).values():
        in_words(inner)
    # The option is made once and kept, so this is the one that the help shows.
    helping = command.get_help_option(typer.Context(command, help_option_names=HELP))
    for item in (*command.params, helping):
        if item.param_type_name == "argument":
            item.metavar = (item.metavar or item.name.upper()).strip("[]")
        elif item.is_flag or (item.metavar is None and item.display_type(None) == "<bool>"):
            item.metavar = ""
        elif item.metavar is None and item.multiple:
            item.metavar = item.display_type(None).replace("list[", "").replace("]", "")
    return command
