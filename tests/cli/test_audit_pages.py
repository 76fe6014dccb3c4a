"""Calls as lines and pages: what they say, and that they fit."""

from collections.abc import Mapping
from typing import Any

import pytest

from proxy.cli.audit_pages import COLUMNS, duration, page, row, size, status
from proxy.cli.output import table
from proxy.clock import SystemClock, rfc3339

CALL: dict[str, Any] = {
    "requestReceivedTimestamp": "2020-02-29T21:00:00.000000Z",
    "user": {"username": "a-rather-long-user-name@example.com"},
    "cluster": "production-eu-west-1",
    "verb": "deletecollection",
    "objectRef": {"resource": "horizontalpodautoscalers", "name": "web-frontend-7d9c5b8f6-x2x7q", "namespace": "team-shop-production"},
    "responseStatus": {"code": 200},
    "stage": "ResponseComplete",
    "totalMicros": 1500,
    "kubectlCommand": "kubectl delete",
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 100, 120, 160, 200])
def test_the_log_fits_every_terminal(width: int) -> None:
    lines = table(COLUMNS, [row(CALL)], width=width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert {"TIME", "USER", "VERB", "OBJECT", "STATUS"} <= set(lines[0].split())


def test_a_wide_terminal_cuts_nothing_and_a_pipe_never_does() -> None:
    cells = row(CALL)
    for width in (300, None):
        line = table(COLUMNS, [cells], width=width).splitlines()[1]
        assert all(cell in line for cell in cells)
        assert "…" not in line


def test_an_ordinary_call_is_whole_on_a_terminal_of_80() -> None:
    call = CALL | {
        "requestReceivedTimestamp": rfc3339(SystemClock.now()),
        "user": {"username": "alice"}, "cluster": "prod", "verb": "delete",
        "objectRef": {"resource": "deployments", "name": "web", "namespace": "shop"},
    }  # fmt: skip
    line = table(COLUMNS, [row(call)], width=80).splitlines()[1]
    assert "…" not in line
    assert line.split()[1:] == ["alice", "prod", "delete", "deployments/web", "shop", "200"]


STATUSES = [
    ({"stage": "ResponseComplete", "responseStatus": {"code": 200}}, "200"),
    ({"stage": "ResponseComplete", "responseStatus": {"code": 403}, "closeReason": "refused"}, "403"),
    ({"stage": "ResponseComplete", "responseStatus": {"code": 200}, "closeReason": "client-gone"}, "200 client-gone"),
    ({"stage": "ResponseStarted", "responseStatus": {"code": 101}}, "101 open"),
    ({"stage": "RequestReceived"}, "open"),
    ({"stage": "ResponseComplete", "closeReason": "interrupted"}, "interrupted"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "said"), STATUSES)
def test_status(call: dict[str, object], said: str) -> None:
    assert status(call) == said


@pytest.mark.parametrize(
    ("micros", "said"),
    [(0, "0.0 ms"), (1500, "1.5 ms"), (12_000, "12 ms"), (3_400_000, "3.4 s"), (312_000_000, "5m12s"), (7_260_000_000, "2h01m")],
)  # fmt: skip
def test_duration(micros: int, said: str) -> None:
    assert duration(micros) == said


@pytest.mark.parametrize(("count", "said"), [(0, "0 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")])
def test_size(count: int, said: str) -> None:
    assert size(count) == said


def test_the_page_says_that_the_client_never_got_the_answer() -> None:
    note: dict[str, Any] = {
        "kind": "SystemEvent", "action": "call.withheld", "auditID": "1", "seq": 3,
        "stageTimestamp": "2020-02-29T21:00:01.000000Z",
        "detail": {"recorded": 200, "answered": 503, "cause": "the disk hangs"},
    }  # fmt: skip
    events: list[Mapping[str, Any]] = [
        CALL | {"kind": "Event", "seq": 2, "stageTimestamp": CALL["requestReceivedTimestamp"]},
        note,
    ]
    said = page(events)
    assert "→ 200" in said
    assert "never got that answer; it was told 503 instead: the disk hangs" in said
    assert "call.withheld" in said.splitlines()[-1]
    note["detail"] = {"recorded": 200, "answered": 0, "cause": "the disk hangs"}
    assert "cut off" in page(events)


def test_a_user_that_only_a_certificate_names_is_not_shown_as_one() -> None:
    claim = {"kubewitness.io/claimed-user": "alice"}
    call = CALL | {"kind": "Event", "user": {"username": ""}, "annotations": claim}
    assert row(call)[1] == "(alice)"
    said = page([call])
    assert said.startswith("(alice): ")
    assert "- (not authenticated; a certificate that does not count says alice)" in said
    assert row(call | {"annotations": {}})[1] == "-"
    # What somebody who is known carries along changes nothing.
    assert row(call | {"user": {"username": "bob"}})[1] == "bob"
