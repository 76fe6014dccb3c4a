"""The order of changes, and the place of an error."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from proxy.control.documents.manifests import Document, Documents
from proxy.control.documents.planning import (
    KINDS,
    Action,
    Plan,
    Planned,
    Prune,
    kind_of,
    located,
    plan,
)
from proxy.errors import InvalidInputError, NotFoundError, PreconditionError
from tests.control.sample_documents import EVERYTHING, document


def read(*documents: dict[str, Any]) -> tuple[Document, ...]:
    return msgspec.convert(documents, type=Documents)


async def nothing(change: Any) -> None:
    del change


def adding(kind: str) -> Callable[[Any], Iterator[Planned]]:
    def planner(item: Any) -> Iterator[Planned]:
        name = getattr(item.metadata, "name", "grant")
        if name == "bad":
            raise NotFoundError("There is no such thing.", hint="Look.")
        yield Planned(Action.ADD, kind, name, None, nothing)

    return planner


def removing(kind: str) -> Callable[[Sequence[Any]], Iterator[Planned]]:
    def planner(items: Sequence[Any]) -> Iterator[Planned]:
        assert items
        yield Planned(Action.REMOVE, kind, "old", None, nothing)

    return planner


PLANNERS: dict[str, tuple[Plan, Prune]] = {kind: (adding(kind), removing(kind)) for kind in KINDS}


def test_each_thing_comes_before_what_needs_it() -> None:
    made = plan(read(*EVERYTHING), PLANNERS, prune=False)
    assert [item.kind for item in made] == ["Group", "User", "Role", "Project", "Grant", "Grant"]
    assert [item.number for item in made] == [3, 2, 5, 1, 0, 4]


def test_grants_end_first_and_things_go_last() -> None:
    made = plan(read(*EVERYTHING), PLANNERS, prune=True)
    assert (made[0].action, made[0].kind) == (Action.REMOVE, "Grant")
    assert [item.kind for item in made[-4:]] == ["Project", "Role", "User", "Group"]
    assert {item.action for item in made[1:-4]} == {Action.ADD}


def test_what_no_document_mentions_is_not_pruned() -> None:
    made = plan(read(document("User", "rob")), PLANNERS, prune=True)
    assert [(item.action, item.kind) for item in made] == [("add", "User"), ("remove", "User")]


def test_an_error_says_which_document() -> None:
    with pytest.raises(NotFoundError, match=r"^objects\[1\]: There is no such thing\."):
        plan(read(document("User", "rob"), document("User", "bad")), PLANNERS, prune=False)
    error = located(7, PreconditionError("Changed.", hint="Look."))
    assert (type(error), error.message, error.hint) == (
        PreconditionError,
        "objects[7]: Changed.",
        "Look.",
    )


async def test_an_error_of_a_step_says_it_too() -> None:
    async def fail(change: Any) -> None:
        raise InvalidInputError("No.")

    never: Any = None  # the change it fails before it looks at

    with pytest.raises(InvalidInputError, match=r"objects\[3\]: No\."):
        await Planned(Action.ADD, "User", "x", None, fail, number=3).step(never)
    with pytest.raises(InvalidInputError, match=r"^No\."):
        await Planned(Action.ADD, "User", "x", None, fail).step(never)


def test_a_thing_is_said_once() -> None:
    twice = read(document("Group", "dev"), document("Group", "dev"))
    with pytest.raises(
        InvalidInputError, match=r"objects\[1\]: Group 'dev' stands in objects\[0\]"
    ):
        plan(twice, PLANNERS, prune=False)
    # A user and a group may have one name; grants have none.
    plan(read(document("Group", "x"), document("User", "x"), EVERYTHING[0], EVERYTHING[0]), PLANNERS, prune=False)  # fmt: skip


def test_the_kind_is_the_word_in_the_document() -> None:
    assert [kind_of(item) for item in read(*EVERYTHING)] == [item["kind"] for item in EVERYTHING]
