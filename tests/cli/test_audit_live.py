"""Following: one line a record, until the reader interrupts or the server ends."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.cli.audit_live import Printer, follow
from proxy.cli.output import Column, Format
from proxy.errors import InvalidInputError, UnavailableError

COLUMNS = (Column("id"), Column("verb"))
RECORDS = [
    ("record", {"auditID": "a", "verb": "get"}),
    ("record", {"auditID": "b", "verb": "\x1b"}),
]


class Stream:
    """A client whose server sends `events` and then ends, or whose reader interrupts."""

    def __init__(self, events: list[tuple[str, Any]], *, interrupted: bool = False) -> None:
        self._events = events
        self._interrupted = interrupted

    def events(self, path: str, query: object) -> Iterator[tuple[str, Any]]:
        assert (path, query) == ("/audit/tail", {"last": 2})
        yield from self._events
        if self._interrupted:
            raise KeyboardInterrupt


def printer(form: Format) -> Printer:
    return Printer(form, COLUMNS, (3, 4), lambda item: (item["auditID"], item["verb"]))


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        (Format.TABLE, ["ID   VERB", "a    get", "b    \\x1b"]),
        (Format.NAME, ["a", "b"]),
    ],
)
def test_lines(form: Format, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    client: Any = Stream(RECORDS, interrupted=True)
    follow(client, {"last": 2}, printer(form), "audit tail -f")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == shown


def test_json_is_one_document_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    client: Any = Stream(RECORDS, interrupted=True)
    follow(client, {"last": 2}, printer(Format.JSON), "audit tail -f")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [item for _, item in RECORDS]


def test_what_was_missed_is_said_and_an_end_is_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client: Any = Stream([("missed", {"count": 7})])
    with pytest.raises(UnavailableError, match="ended the stream") as raised:
        follow(client, {"last": 2}, printer(Format.NAME), "audit tail -f")
    assert "audit tail -f" in raised.value.hint
    assert "7 records" in capsys.readouterr().err


def test_a_list_is_not_followed() -> None:
    with pytest.raises(InvalidInputError, match="-o yaml"):
        printer(Format.YAML)
