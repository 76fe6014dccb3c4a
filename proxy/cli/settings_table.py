"""The settings as one table, made from their model.

The flags of `serve`, the settings file of `init` and the table in the README are all this table,
so none of them can lack a setting.
"""

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from proxy.settings import KIB, MIB, Settings
from proxy.settings_group import Group

PREFIX: Final = "KUBEWITNESS_"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting."""

    path: tuple[str, ...]
    """Group and field, or only the field."""
    description: str
    default: object
    kind: str
    """What a value looks like: `text`, `number`, `whole number`, `path`, `list`, or the choices."""

    @property
    def name(self) -> str:
        """As the settings file and our messages call it: `journal.deadline`."""
        return ".".join(self.path)

    @property
    def flag(self) -> str:
        """Option of `kubewitness serve`."""
        return "--" + "-".join(self.path).replace("_", "-")

    @property
    def variable(self) -> str:
        """Environment variable."""
        return PREFIX + "_".join(self.path).upper()

    @property
    def is_list(self) -> bool:
        """Whether several values may be given."""
        return self.kind == "list"


def rows() -> tuple[Row, ...]:
    """Every setting, in the order of the model."""
    return tuple(_walk(Settings, ()))


def _walk(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[Row]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Group):
            yield from _walk(annotation, (*above, name))
        else:
            yield Row((*above, name), field.description or "", _default(field), _kind(annotation))


def _default(field: FieldInfo) -> object:
    value = field.get_default(call_default_factory=False)
    return None if value is PydanticUndefined else value


def _kind(annotation: Any) -> str:  # noqa: ANN401  # an annotation is any object
    origin = get_origin(annotation)
    if origin is Literal:
        return "|".join(str(choice) for choice in get_args(annotation))
    if origin is tuple:
        return "list"
    if origin in (types.UnionType, Union):
        return _kind(next(arg for arg in get_args(annotation) if arg is not type(None)))
    names = {int: "whole number", float: "number", bool: "true|false", Path: "path"}
    return names.get(annotation, "text")


def _shown(value: object) -> object:
    """A value as YAML has it."""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def as_yaml(value: object) -> str:
    """`value` on one line of YAML; nothing for a setting that is not set."""
    if value is None:
        return ""
    text: str = yaml.safe_dump(_shown(value), default_flow_style=True, width=10_000)
    return text.removesuffix("...\n").strip()


def _size(value: object) -> str:
    for unit, word in ((MIB, "MiB"), (KIB, "KiB")):
        if isinstance(value, int) and value >= unit and value % unit == 0:
            return f" ({value // unit} {word})"
    return ""


def markdown() -> str:
    """The table of the README."""
    lines = ["| setting | default | what it is |", "|---|---|---|"]
    for row in rows():
        default = as_yaml(row.default)
        cell = f"`{default}`{_size(row.default)}" if default not in ("", "''") else "none"
        lines.append(f"| `{row.name}` | {cell} | {row.description} |")
    return "\n".join(lines) + "\n"


def template(chosen: Mapping[str, object]) -> str:
    """A settings file: `chosen` (by name) set, everything else shown with its default.

    The data directory is left out: it is where the file lies.
    """
    lines = [
        "# Settings of this proxy. Precedence: flag of `kubewitness serve`, KUBEWITNESS_… variable,",
        "# this file, default. What is commented out shows the default.",
    ]
    group = ""
    for row in rows():
        if row.path == ("data_dir",):
            continue
        lines.append("")
        if len(row.path) > 1 and row.path[0] != group:
            group = row.path[0]
            lines.append(f"{group}:")
        lines += _entry(row, chosen)
    return "\n".join(lines) + "\n"


def _entry(row: Row, chosen: Mapping[str, object]) -> tuple[str, str]:
    indent = "  " * (len(row.path) - 1)
    about = f"{indent}# {row.description} ({row.kind}; {row.flag}, {row.variable})"
    if row.name in chosen:
        return about, f"{indent}{row.path[-1]}: {as_yaml(chosen[row.name])}"
    value = as_yaml(row.default)
    return about, f"{indent}# {row.path[-1]}: {value}{_comment(row)}".rstrip()


def _comment(row: Row) -> str:
    size = _size(row.default)
    return f"  #{size}" if size else ""


def replace_between(text: str, marker: str, content: str) -> str:
    """`text` with `content` between `<!-- marker -->` and `<!-- /marker -->`, where it has them."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    return pattern.sub(lambda found: found.group(1) + content + found.group(2), text)
