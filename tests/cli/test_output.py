"""Tables on terminals of any width and in pipes, and text that cannot do any harm."""

import csv
import io
import json

import pytest
import yaml

from proxy.cli import output
from proxy.cli.audit_pages import COLUMNS, duration, row, size, status
from proxy.cli.output import Column, table, to_csv, to_json, to_yaml, visible
from proxy.clock import SystemClock, rfc3339

HOSTILE = [
    "\x1b[2J", "\x1b]52;c;AAAA\x07", "\x9b31m", "a\rb", "a\nb", "a\tb", "\u202egnp.exe", "\u2066x",
    "\u200bzero", "\ufeff", "\u2028", "\x00", "\x7f", "\ud800", "\U000e0041",
]  # fmt: skip
HARMLESS = ["alice", "Zoë", "名前", "🚀", "a b", "e\u0301"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_an_escape_everywhere(text: str) -> None:
    forms = [
        visible(text),
        table([Column("x")], [[text]]),
        to_json({"x": text}),
        to_csv(["x"], [[text]]),
        *([] if text == "\ud800" else [to_yaml({"x": text})]),
    ]
    for form in forms:
        shown = form.replace("\n", "")
        assert shown.isprintable() or all(not output.hidden(char) for char in shown)


@pytest.mark.parametrize("text", HARMLESS)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert visible(text) == text
    assert text in to_json({"x": text})
    assert text in to_yaml({"x": text})


@pytest.mark.parametrize("text", [*HOSTILE[:-2], *HARMLESS])
def test_documents_keep_the_text(text: str) -> None:
    assert json.loads(to_json({"x": text})) == {"x": text}
    assert yaml.safe_load(to_yaml({"x": text})) == {"x": text}


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_spreadsheets_see_no_formula(formula: str) -> None:
    cell = next(csv.reader(io.StringIO(to_csv(["x"], [[formula]]).split("\n", 1)[1])))[0]
    assert cell[0] not in "=+-@\t"


CALL = {
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


def test_wide_characters_count_as_two() -> None:
    lines = table([Column("a"), Column("b")], [["名前", "x"], ["ab", "y"]]).splitlines()
    assert lines[1] == "名前  x"
    assert lines[2] == "ab    y"


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
