"""Refusals in the form that kubectl prints."""

from __future__ import annotations

import json

import pytest

from proxy.kube.request_info import request_info
from proxy.kube.status import error_response, reason_for, status_body

POD = request_info("GET", "/apis/apps/v1/namespaces/shop/deployments/web")


def test_lesson_30_a_status_is_a_failure_with_the_same_code() -> None:
    assert json.loads(status_body(403, "Forbidden", "no", details={"name": "web"})) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "no",
        "reason": "Forbidden",
        "details": {"name": "web"},
        "code": 403,
    }


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (400, "BadRequest"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (413, "RequestEntityTooLarge"),
        (418, "BadRequest"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (502, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
        (599, "InternalError"),
    ],
)
def test_lesson_30_reasons_belong_to_codes(code: int, reason: str) -> None:
    assert reason_for(code) == reason
    body = json.loads(error_response(POD, code, "m")[1])
    assert (body["code"], body["reason"]) == (code, reason)


def test_resource_paths_get_a_status_that_names_the_object() -> None:
    head, body = error_response(POD, 403, "alice may not", details={"uid": "1"})
    assert dict(head)[b"Content-Type"] == b"application/json"
    assert json.loads(body)["details"] == {
        "name": "web",
        "group": "apps",
        "kind": "deployments",
        "uid": "1",
    }


@pytest.mark.parametrize("target", ["/api", "/apis/apps/v1", "/openapi/v3", "/healthz", None])
def test_other_paths_get_plain_text(target: str | None) -> None:
    info = request_info("GET", target) if target else None
    head, body = error_response(info, 403, "alice may not")
    assert dict(head)[b"Content-Type"] == b"text/plain; charset=utf-8"
    assert body == b"alice may not\n"


@pytest.mark.parametrize("info", [POD, None])
def test_retry_after_is_an_integer_and_only_there_when_asked_for(info: object) -> None:
    request = POD if info else None
    assert b"Retry-After" not in dict(error_response(request, 503, "m")[0])
    head, body = error_response(request, 503, "m", retry_after=2)
    assert dict(head)[b"Retry-After"] == b"2"
    if request:
        assert json.loads(body)["details"]["retryAfterSeconds"] == 2


@pytest.mark.parametrize("message", ["\udcff", "\x1b[2J\x00", "é", "x" * 100_000])
def test_lesson_22_hostile_messages_are_encoded(message: str) -> None:
    assert json.loads(error_response(POD, 400, message)[1])["message"] == message
    text = error_response(None, 400, message)[1]
    assert b"\x1b" not in text
    text.decode()
