"""Errors as RFC 9457 problem details: what was wrong, where, and what to do."""

from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from proxy.authn.authenticate import Unauthenticated
from proxy.authn.certificate import BadCertificateError
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

MEDIA_TYPE: Final = "application/problem+json"


class UnauthenticatedError(DeniedError):
    """The request shows neither a client certificate nor an API token that counts."""


class TooLargeError(InvalidInputError):
    """The body is larger than any request of this API needs."""


class WrongMediaTypeError(InvalidInputError):
    """The body is not declared as JSON."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details, with two members of ours."""

    type: str
    """`urn:kubewitness:` and a stable word; clients decide by this."""
    title: str
    status: int
    detail: str
    """What was wrong, and where."""
    hint: str = ""
    """What to do next."""
    instance: str = ""
    """`urn:uuid:` and the audit id of the system event that records the attempt."""


_KINDS: Final[tuple[tuple[type[KubewitnessError], int, str, str], ...]] = (
    (UnauthenticatedError, 401, "unauthenticated", "Not authenticated"),
    (Unauthenticated, 401, "unauthenticated", "Not authenticated"),
    (BadCertificateError, 401, "unauthenticated", "Not authenticated"),
    (DeniedError, 403, "denied", "Not allowed"),
    (NotFoundError, 404, "not-found", "Not found"),
    (PreconditionError, 412, "precondition-failed", "Changed in between"),
    (ConflictError, 409, "conflict", "Conflict"),
    (TooLargeError, 413, "too-large", "Request too large"),
    (WrongMediaTypeError, 415, "wrong-media-type", "Wrong media type"),
    (InvalidInputError, 400, "invalid-input", "Invalid input"),
    (SettingsError, 400, "invalid-input", "Invalid input"),
    (UnavailableError, 503, "unavailable", "Unavailable"),
)
STATUSES: Final[Mapping[int, str]] = {status: title for _, status, _, title in _KINDS} | {
    500: "Internal error"
}
"""Each status an error of this API can have, with its title."""


def problem_of(error: BaseException, audit_id: str = "") -> Problem:
    """The problem that describes `error`; anything unforeseen becomes a 500 that tells nothing."""
    instance = f"urn:uuid:{audit_id}" if audit_id else ""
    for kind, status, word, title in _KINDS:
        if isinstance(error, kind):
            return Problem(
                type=f"urn:kubewitness:{word}",
                title=title,
                status=status,
                detail=error.message,
                hint=error.hint,
                instance=instance,
            )
    return Problem(
        type="urn:kubewitness:internal",
        title=STATUSES[500],
        status=500,
        detail="The proxy failed while it handled this request.",
        hint="Look at the log of `kubewitness serve`; it has the details.",
        instance=instance,
    )


def is_stranger(error: KubewitnessError) -> bool:
    """Whether `error` says that we do not know who asks."""
    return isinstance(error, UnauthenticatedError | Unauthenticated | BadCertificateError)


def problem_of_http(error: web.HTTPException) -> Problem:
    """The problem for what aiohttp's router refuses itself: unknown paths and methods."""
    words = {404: ("not-found", "Not found"), 405: ("method-not-allowed", "Method not allowed")}
    word, title = words.get(error.status, ("invalid-input", error.reason or "Refused"))
    return Problem(
        type=f"urn:kubewitness:{word}",
        title=title,
        status=error.status,
        detail=f"{error.reason}.",
        hint="GET /api/v1/openapi.json lists every route.",
    )


def response(problem: Problem) -> web.Response:
    """`problem` as an answer."""
    return web.Response(
        body=msgspec.json.encode(problem), status=problem.status, content_type=MEDIA_TYPE
    )
