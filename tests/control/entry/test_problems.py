"""Each error has one status, and comes out at the other end as what it was."""

import msgspec
import pytest

from proxy.authn.authenticate import Reason, Unauthenticated
from proxy.cli.client import problem
from proxy.control.entry.problems import (
    TooLargeError,
    UnauthenticatedError,
    WrongMediaTypeError,
    problem_of,
)
from proxy.errors import (
    ConflictError,
    DeniedError,
    InvalidInputError,
    KubewitnessError,
    NotFoundError,
    PreconditionError,
    SettingsError,
    UnavailableError,
)

ERRORS = [
    (UnauthenticatedError("m", hint="h"), 401, DeniedError),
    (Unauthenticated(Reason.REVOKED, "m", hint="h"), 401, DeniedError),
    (DeniedError("m", hint="h"), 403, DeniedError),
    (NotFoundError("m", hint="h"), 404, NotFoundError),
    (ConflictError("m", hint="h"), 409, ConflictError),
    (PreconditionError("m", hint="h"), 412, PreconditionError),
    (TooLargeError("m", hint="h"), 413, InvalidInputError),
    (WrongMediaTypeError("m", hint="h"), 415, InvalidInputError),
    (InvalidInputError("m", hint="h"), 400, InvalidInputError),
    (SettingsError("m", hint="h"), 400, InvalidInputError),
    (UnavailableError("m", hint="h"), 503, UnavailableError),
]


@pytest.mark.parametrize(("error", "status", "seen"), ERRORS, ids=lambda item: repr(item)[:24])
def test_errors_cross_the_wire(
    error: KubewitnessError, status: int, seen: type[KubewitnessError]
) -> None:
    told = problem_of(error, "id")
    assert (told.status, told.detail, told.hint) == (status, "m", "h")
    assert told.instance == "urn:uuid:id"
    back = problem(told.status, msgspec.json.encode(told))
    assert type(back) is seen
    assert (back.message, back.hint) == ("m", "h")


@pytest.mark.parametrize("error", [RuntimeError("hunter2"), KubewitnessError("hunter2")])
def test_the_unforeseen_is_a_500_that_tells_nothing(error: Exception) -> None:
    told = problem_of(error)
    assert told.status == 500
    assert b"hunter2" not in msgspec.json.encode(told)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b'{"detail": null}'])
def test_an_answer_that_is_no_problem_is_still_an_error(content: bytes) -> None:
    assert isinstance(problem(502, content), KubewitnessError)


def test_a_hostile_server_cannot_write_to_the_terminal() -> None:
    told = problem(400, b'{"detail": "\\u001b[2J", "hint": "\\u202e"}')
    assert (told.message, told.hint) == ("\\x1b[2J", "\\u202e")
