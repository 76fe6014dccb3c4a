"""Documents of `kubewitness apply`: YAML files read one by one, each error with its place.

A document is `apiVersion: kubewitness.io/v1`, a `kind`, `metadata.name` (grants have none) and a
`spec`. What stands in a spec is checked by the server; `place` finds the file again for its errors.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proxy.errors import InvalidInputError, KubewitnessError

API_VERSION: Final = "kubewitness.io/v1"
KINDS: Final = ("User", "Group", "Project", "Role", "Grant")
_NAMELESS: Final = "Grant"
_MEMBERS: Final = frozenset({"apiVersion", "kind", "metadata", "spec"})
_METADATA: Final = frozenset({"name", "annotations", "labels"})
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
_STANDARD_INPUT: Final = "-"
_FIELD: Final = re.compile(r"Body of POST \S+: (.+?) - at `(.+)`\.?", re.DOTALL)
"""How the server says what is wrong with a field, and where; the place goes before, as in all of ours."""
_PLACE: Final = re.compile(r"(?:\$\.)?objects\[(\d+)\](\.|: )?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Document:
    """One document, and where it was found."""

    source: str
    """File, as it was named; `standard input`."""
    number: int
    """Which document of the file, from 1."""
    kind: str
    name: str
    """Empty for grants."""
    spec: dict[str, Any]

    @property
    def place(self) -> str:
        """`people.yaml, document 3`."""
        return f"{self.source}, document {self.number}"

    def to_api(self) -> dict[str, Any]:
        """As the API takes it."""
        metadata = {"metadata": {"name": self.name}} if self.name else {}
        return {"apiVersion": API_VERSION, "kind": self.kind, **metadata, "spec": self.spec}


def read(paths: Sequence[str]) -> list[Document]:
    """Every document of files, of directories (in order of names) and of standard input (`-`).

    Raises InvalidInputError naming file, document and field.
    """
    found: list[Document] = []
    for path in paths:
        for source, text in _texts(path):
            found += _documents(source, text)
    _require_once(found)
    return found


def located(error: KubewitnessError, documents: Sequence[Document]) -> KubewitnessError:
    """The server's `error` with file and document in the place of `objects[2]`."""

    def place(match: "re.Match[str]") -> str:
        number = int(match[1])
        if number >= len(documents):
            return match[0]
        return documents[number].place + (": " if match[2] else "")

    message, hint = error.message, error.hint
    if wrong := _FIELD.fullmatch(message):
        message, hint = f"{wrong[2]}: {wrong[1]}.", ""
    return type(error)(_PLACE.sub(place, message), hint=hint)


def _texts(path: str) -> list[tuple[str, str]]:
    if path == _STANDARD_INPUT:
        return [("standard input", sys.stdin.read())]
    place = Path(path).expanduser()
    files = [place]
    if place.is_dir():
        files = sorted(file for file in place.iterdir() if file.suffix in _SUFFIXES)
        if not files:
            raise InvalidInputError(f"{path} has no .yaml, .yml or .json files.")
    try:
        return [(str(file), file.read_text(encoding="utf-8")) for file in files]
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8.") from error


def _documents(source: str, text: str) -> list[Document]:
    import yaml

    from proxy.cli.strict_yaml import StrictLoader

    found: list[Document] = []
    try:
        # A safe loader: it makes nothing but texts, numbers, lists and mappings.
        for number, content in enumerate(yaml.load_all(text, StrictLoader), 1):
            if content is not None:
                found.append(_document(source, number, content))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InvalidInputError(
            f"{source}{where} is not YAML: {getattr(error, 'problem', None) or 'malformed'}."
        ) from error
    return found


def _document(source: str, number: int, content: object) -> Document:
    place = f"{source}, document {number}"
    fields = _mapping(content, place, "it", _MEMBERS)
    if fields.get("apiVersion") != API_VERSION:
        raise InvalidInputError(
            f"{place}: apiVersion is {fields.get('apiVersion')!r}.", hint=f"Write {API_VERSION}."
        )
    kind = fields.get("kind")
    if kind not in KINDS:
        raise InvalidInputError(
            f"{place}: kind is {kind!r}.", hint=f"It is one of {', '.join(KINDS)}."
        )
    name = _mapping(fields.get("metadata") or {}, place, "metadata", _METADATA).get("name", "")
    if not isinstance(name, str) or bool(name) is (kind == _NAMELESS):
        said = "a Grant has no metadata.name" if name else "metadata.name is missing"
        raise InvalidInputError(
            f"{place}: {said if isinstance(name, str) else 'metadata.name is not text'}.",
            hint="" if isinstance(name, str) else "Put it in quotes.",
        )
    spec = _mapping(fields.get("spec") or {}, place, "spec", None)
    return Document(source, number, str(kind), name, spec)


def _mapping(
    value: object, place: str, what: str, members: frozenset[str] | None
) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InvalidInputError(f"{place}: {what} must be a mapping of names to values.")
    unknown = sorted(set(value) - members) if members is not None else []
    if unknown:
        raise InvalidInputError(
            f"{place}: {'' if what == 'it' else what + '.'}{unknown[0]} is unknown.",
            hint=f"It has {', '.join(sorted(members or ()))}.",
        )
    return value


def _require_once(documents: Sequence[Document]) -> None:
    seen: dict[tuple[str, str], Document] = {}
    for document in documents:
        if not document.name:
            continue
        key = (document.kind, document.name)
        if key in seen:
            raise InvalidInputError(
                f"{document.place}: {document.kind} {document.name!r} is there already.",
                hint=f"See {seen[key].place}.",
            )
        seen[key] = document
