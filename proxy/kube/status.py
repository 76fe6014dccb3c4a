"""How we refuse: in the words Kubernetes clients understand.

On resource paths an answer is a `metav1.Status`; its `status` must read `Failure`, or client-go
ignores the body. Discovery, OpenAPI and other raw calls never decode one, they show plain text.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from proxy.kube.attributes import RequestInfo

REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Gone",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    502: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
"""The reason that belongs to a code (apimachinery, `meta/v1.StatusReason`)."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def reason_for(code: int) -> str:
    """The reason that belongs to an HTTP code of 400 and above."""
    return REASONS.get(code, "InternalError" if code >= 500 else "BadRequest")


def status_body(
    code: int,
    reason: str,
    message: str,
    *,
    details: dict[str, Any] | None = None,
    retry_after: int | None = None,
) -> bytes:
    """A `metav1.Status` of a failure, as JSON.

    Args:
        code: HTTP status code.
        reason: a machine-readable word such as `Forbidden`.
        message: what kubectl prints.
        details: `name`, `group`, `kind`, `causes`, where they are known.
        retry_after: seconds; only when nothing was forwarded, since clients repeat any verb.
    """
    if retry_after is not None:
        details = {**(details or {}), "retryAfterSeconds": retry_after}
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
    }
    if details:
        status["details"] = details
    status["code"] = code
    try:
        return msgspec.json.encode(status)
    except UnicodeEncodeError:
        # A message that quotes bytes which are no UTF-8: escape what cannot be encoded.
        return json.dumps(status, separators=(",", ":")).encode()


def error_response(
    info: RequestInfo | None,
    code: int,
    message: str,
    *,
    reason: str | None = None,
    details: dict[str, Any] | None = None,
    retry_after: int | None = None,
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of an answer of our own; framing headers are left to the connection.

    Args:
        info: what the request is; None when it was not understood or lies outside any cluster.
        code: HTTP status code.
        message: one sentence that says what was refused and what to do.
        reason: when another than the usual one for the code.
        details: added to what `info` says (name, group, kind).
        retry_after: seconds; only when nothing was forwarded.
    """
    head = [(b"Cache-Control", b"no-cache, private"), (b"X-Content-Type-Options", b"nosniff")]
    if retry_after is not None:
        # An integer: client-go ignores a date here.
        head.append((b"Retry-After", b"%d" % retry_after))
    if info is None or not info.is_resource:
        # No terminal sequences: this text goes to a terminal as it is.
        text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", message)
        head.insert(0, (b"Content-Type", b"text/plain; charset=utf-8"))
        return head, text.encode("utf-8", "backslashreplace") + b"\n"
    known = {"name": info.name, "group": info.group, "kind": info.resource}
    known = {key: value for key, value in known.items() if value}
    body = status_body(
        code,
        reason or reason_for(code),
        message,
        details={**known, **(details or {})},
        retry_after=retry_after,
    )
    head.insert(0, (b"Content-Type", b"application/json"))
    return head, body
