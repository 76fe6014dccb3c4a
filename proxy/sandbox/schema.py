"""The shape of the built-in types, read once from `types.txt`.

One line a type: its name, then `field:number:type` for each field. `[]T` is a list, `{}T` a map from
strings, `*field` a struct whose fields belong to its parent in JSON, `T!` a type that wraps one
list and is that list in JSON. The numbers are those of the protobuf form of Kubernetes 1.37.
Protobuf decoding and the OpenAPI documents are both made from this table.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

SCALARS: Final = frozenset({"string", "bool", "bytes", "int32", "int64", "uint32", "uint64"})
#: Types that are messages in protobuf and plain values in JSON.
VALUES: Final = frozenset({"time", "microtime", "quantity", "intorstring", "duration"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a type: its JSON name, protobuf number, element type, and how it is wrapped."""

    name: str
    number: int
    type: str
    is_list: bool = False
    is_map: bool = False
    is_inline: bool = False

    @property
    def is_message(self) -> bool:
        """Whether the element is another type of the table."""
        return self.type not in SCALARS and self.type not in VALUES and "!" not in self.type


@dataclass(frozen=True, slots=True)
class Message:
    """One type: its name, the group and version it belongs to, and its fields by number."""

    name: str
    package: str
    fields: dict[int, Field]

    @property
    def schema_name(self) -> str:
        """Its name in OpenAPI documents."""
        group, version = self.package.split("/")
        if group == "meta":
            return f"io.k8s.apimachinery.pkg.apis.meta.{version}.{self.name}"
        return f"io.k8s.api.{group}.{version}.{self.name}"


@cache
def messages() -> dict[str, Message]:
    """Every type of the table by name."""
    found: dict[str, Message] = {}
    package = ""
    text = (files("proxy.sandbox") / "types.txt").read_text(encoding="ascii")
    for line in text.splitlines():
        if line.startswith("@"):
            package = line[1:]
            continue
        name, *entries = line.split()
        fields = [_field(entry) for entry in entries]
        found[name] = Message(name, package, {field.number: field for field in fields})
    return found


def _field(entry: str) -> Field:
    name, number, kind = entry.split(":")
    return Field(
        name=name.lstrip("*"),
        number=int(number),
        type=kind.removeprefix("[]").removeprefix("{}"),
        is_list=kind.startswith("[]"),
        is_map=kind.startswith("{}"),
        is_inline=name.startswith("*"),
    )
