"""Settings as command-line options: one for each, made from the table."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from proxy.cli.settings_table import Row, as_yaml, rows
from proxy.settings import Settings, load

_METAVARS = {
    "text": "TEXT",
    "number": "NUMBER",
    "whole number": "N",
    "path": "PATH",
    "list": "VALUE",
}


def with_settings(
    command: Callable[..., None], only: frozenset[str] = frozenset()
) -> Callable[..., None]:
    """`command(settings=…, **its own options)` with an option for each setting (or for `only`)."""
    chosen = [row for row in rows() if not only or row.name in only]
    by_parameter = {"_".join(row.path): row for row in chosen}
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "settings"
    ]

    def wrapper(**options: Any) -> None:  # noqa: ANN401  # typer passes what the options say
        flags: dict[str, Any] = {}
        for parameter, row in by_parameter.items():
            value = options.pop(parameter)
            if value is not None:
                _place(flags, row, value)
        command(settings=load(flags), **options)

    parameters = [*own, *(_parameter(name, row) for name, row in by_parameter.items())]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {item.name: item.annotation for item in parameters}
    wrapper.__doc__ = command.__doc__
    wrapper.__name__ = command.__name__
    return wrapper


def _place(flags: dict[str, Any], row: Row, value: Any) -> None:  # noqa: ANN401  # text or list
    level = flags
    for group in row.path[:-1]:
        level = level.setdefault(group, {})
    level[row.path[-1]] = _split(value) if row.is_list else value


def _split(values: list[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _parameter(name: str, row: Row) -> inspect.Parameter:
    default = as_yaml(row.default).strip("[]").replace("'", "")
    several = " Repeat it, or separate with commas." if row.is_list else ""
    shown = f" Default: {default}." if default else ""
    option = typer.Option(
        row.flag,
        help=f"{row.description}{several}{shown}",
        metavar=_METAVARS.get(row.kind, row.kind),
        rich_help_panel=f"Settings: {row.path[0]}" if len(row.path) > 1 else "Settings",
        show_default=False,
    )
    kind: Any = list[str] | None if row.is_list else str | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def data_dir_settings(data_dir: str | None) -> Settings:
    """The settings when only the data directory is given, as the other local commands have it."""
    return load({"data_dir": data_dir})
