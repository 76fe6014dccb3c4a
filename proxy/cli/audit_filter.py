"""The options that choose calls, the same for every command that looks at the log."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from proxy.audit.flags import Flag
from proxy.cli.completion import complete_cluster, complete_serial, complete_user
from proxy.cli.moments import to_api

Query = dict[str, Any]
_PANEL: Final = "Which calls"
CLASSES: Final = ("read", "mutate", "stream", "discovery", "health", "privileged")


@dataclass(frozen=True, slots=True)
class _Option:
    """One option, and the parameter of the API it becomes."""

    parameter: str
    """Of the API, and of the command (an underscore is put behind Python's own words)."""
    flags: tuple[str, ...]
    help: str
    many: bool = True
    complete: Callable[..., list[str]] | None = None


def _complete_class(incomplete: str) -> list[str]:
    return [name for name in CLASSES if name.startswith(incomplete)]


def _complete_kind(incomplete: str) -> list[str]:
    return [name for name in ("call", "connection", "system") if name.startswith(incomplete)]


def _complete_flag(incomplete: str) -> list[str]:
    return [flag.value for flag in Flag if flag.startswith(incomplete)]


_OPTIONS: Final = (
    _Option("since", ("--since",), "From: 24h, 7d, today, 21:00, '2026-11-23 21:00', or RFC 3339.", many=False),
    _Option("until", ("--until",), "Until, written likewise.", many=False),
    _Option("user", ("--user", "-u"), "User; 'ci-*' for all that begin so, as in every text here.", complete=complete_user),
    _Option("group", ("--group",), "Group of the user."),
    _Option("cluster", ("--cluster", "-c"), "Cluster.", complete=complete_cluster),
    _Option("namespace", ("--namespace", "-n"), "Namespace."),
    _Option("resource", ("--resource", "-r"), "Resource: pods, deploy, deployments.apps, pods/exec."),
    _Option("name", ("--name",), "Name of the object."),
    _Option("verb", ("--verb",), "get, list, watch, create, update, patch, delete …"),
    _Option("class", ("--class",), "read, mutate, stream, privileged, discovery or health.", complete=_complete_class),
    _Option("status", ("--status",), "Status: 403, 4xx, '>=400'."),
    _Option("source", ("--source",), "Address or network the call came from."),
    _Option("tool", ("--tool",), "Tool: kubectl, helm, k9s …"),
    _Option("session", ("--session",), "kubectl session: all calls of one command."),
    _Option("kind", ("--kind",), "call (the default), connection (failed ones) or system.", complete=_complete_kind),
    _Option("credential", ("--credential",), "Serial of the credential.", complete=complete_serial),
    _Option("suspicious", ("--suspicious",), "Flag: new-address, two-networks …; '*' for any.", complete=_complete_flag),
    _Option("command", ("--command",), "kubectl command, such as `kubectl delete`."),
)  # fmt: skip


def with_filter(command: Callable[..., None]) -> Callable[..., None]:
    """`command(query=…, **its own options)` with an option for each filter."""
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "query"
    ]

    def wrapper(**options: Any) -> None:  # noqa: ANN401  # typer passes what the options say
        given = {option.parameter: options.pop(_python_name(option)) for option in _OPTIONS}
        query = {name: value for name, value in given.items() if value}
        if options.pop("everything"):
            query["all"] = True
        command(query=_understood(query), **options)

    everything = inspect.Parameter(
        "everything",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool,
            typer.Option(
                "--all", "-a", help="Also discovery and health calls.", rich_help_panel=_PANEL
            ),
        ],
    )
    parameters = [*own, *map(_parameter, _OPTIONS), everything]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {item.name: item.annotation for item in parameters}
    wrapper.__doc__ = command.__doc__
    wrapper.__name__ = command.__name__
    return wrapper


def _understood(query: Query) -> Query:
    for name in ("since", "until"):
        if name in query:
            query[name] = to_api(query[name], f"--{name}")
    return query


def _python_name(option: _Option) -> str:
    return f"{option.parameter}_"


def _parameter(option: _Option) -> inspect.Parameter:
    many = " Repeat it for any of several." if option.many and option.parameter == "user" else ""
    declared = typer.Option(
        *option.flags,
        help=option.help + many,
        rich_help_panel=_PANEL,
        show_default=False,
        autocompletion=option.complete,
    )
    kind: Any = list[str] | None if option.many else str | None
    return inspect.Parameter(
        _python_name(option),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind, declared],
    )
