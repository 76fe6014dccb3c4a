"""From documents to changes: what differs from what there is, in an order that can be carried out.

First grants that end, then what is added and changed, each thing before what needs it, then what is
removed, in the other order. Each change is one that its own route would allow the caller to make,
and is made by the same statement; all are one transaction.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import msgspec

from proxy.control.documents.manifests import Document
from proxy.errors import InvalidInputError, KubewitnessError
from proxy.state.change import Change

KINDS: Final = ("Group", "User", "Role", "Project", "Grant")
"""In the order in which they are added: each needs only those before it."""


class Action(StrEnum):
    """What a change does."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


_ACTS: Final = {("Role", Action.CHANGE): "role.replace", ("Grant", Action.REMOVE): "grant.revoke"}
Make = Callable[[Change], Awaitable[msgspec.Struct | None]]
"""Makes a change in a transaction; the thing as it is shown then, None when it is gone."""


@dataclass(slots=True)
class Planned:
    """One change, thought out and allowed."""

    action: Action
    kind: str
    name: str
    before: msgspec.Struct | None
    make: Make
    after: msgspec.Struct | None = None
    """Known once it was made."""
    number: int | None = None
    """Of the document that says so."""
    target: str = ""
    """As the record of the same change by its own route names the thing; empty: as `name` does."""

    @property
    def act(self) -> str:
        """The system event of the same change by its own route: `grant.add`, `role.replace`."""
        usual = f"{self.kind.lower()}.{self.action}"
        return _ACTS.get((self.kind, self.action), usual)

    async def step(self, change: Change) -> None:
        """Make it, and remember what came of it."""
        try:
            self.after = await self.make(change)
        except KubewitnessError as error:
            if self.number is None:
                raise
            raise located(self.number, error) from error


Plan = Callable[[Any], Iterable[Planned]]
"""What one document changes. Raises KubewitnessError, also when the caller may not."""
Prune = Callable[[Sequence[Any]], Iterable[Planned]]
"""What of a kind there is besides the documents of it, and the caller may take away."""


def located(number: int, error: KubewitnessError) -> KubewitnessError:
    """`error` with the place of the document that it is about."""
    kind = type(error)
    try:
        return kind(f"objects[{number}]: {error.message}", hint=error.hint)
    except TypeError:
        return error


def plan(
    documents: Sequence[Document],
    planners: dict[str, tuple[Plan, Prune]],
    *,
    prune: bool,
) -> list[Planned]:
    """The changes that make everything as `documents` say, in their order.

    With `prune` also those that take away what they do not mention, of the kinds they mention.
    Raises KubewitnessError that says `objects[n]`.
    """
    of: dict[str, list[tuple[int, Document]]] = {kind: [] for kind in KINDS}
    for number, document in enumerate(documents):
        of[kind_of(document)].append((number, document))
    _require_once(documents)
    made: list[Planned] = []
    for kind in KINDS:
        for number, document in of[kind]:
            try:
                made += (replace(item, number=number) for item in planners[kind][0](document))
            except KubewitnessError as error:
                raise located(number, error) from error
    gone: list[Planned] = []
    for kind in reversed(KINDS):
        if prune and of[kind]:
            gone += planners[kind][1]([document for _, document in of[kind]])
    ended = [item for item in gone if item.kind == "Grant"]
    return [*ended, *made, *(item for item in gone if item.kind != "Grant")]


def kind_of(document: Document) -> str:
    """The word in its `kind`."""
    return str(document.__struct_config__.tag)


def _require_once(documents: Sequence[Document]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for number, document in enumerate(documents):
        name = getattr(document.metadata, "name", "")
        first = seen.setdefault((kind_of(document), name), number) if name else number
        if first != number:
            raise InvalidInputError(
                f"objects[{number}]: {kind_of(document)} {name!r} stands in objects[{first}] already."
            )
