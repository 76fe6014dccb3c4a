"""Events for other programs: audit.k8s.io/v1 JSON lines and lists, YAML, and CSV for spreadsheets.

Exported events are what the journal holds without its own members (`seq` and `salt`), so that a
reader of kube-apiserver's audit log reads them too. Events that are not a call's keep their kind.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import yaml

from proxy.audit.event import API_VERSION
from proxy.audit.index.rows import Row
from proxy.audit.journal.records import UNREADABLE

COLUMNS: Final = (
    "at",
    "username",
    "user_groups",
    "cluster",
    "verb",
    "api_group",
    "resource",
    "subresource",
    "namespace",
    "name",
    "code",
    "reason",
    "source_ip",
    "tool",
    "user_agent",
    "uri",
    "impersonated_user",
    "decision",
    "close_reason",
    "bytes_in",
    "bytes_out",
    "total_micros",
    "kind",
    "action",
    "target",
    "audit_id",
    "writer",
    "seq",
)
"""The columns of a CSV export, in order."""

# What a spreadsheet takes for a formula, or for the start of a cell it should not be (OWASP,
# "CSV Injection"); full-width forms are folded to these by some.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_OWN: Final = ("seq", "salt")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def event(row: Row) -> dict[str, Any]:
    """The event of a row as audit.k8s.io/v1 has it; an unreadable line stands as text."""
    try:
        document: dict[str, Any] = msgspec.json.decode(row.line, type=dict[str, Any])
    except UNREADABLE:
        return {"kind": row.kind, "line": row.line.decode("utf-8", "backslashreplace")}
    for member in _OWN:
        document.pop(member, None)
    return document


def json_lines(rows: Iterable[Row]) -> Iterator[bytes]:
    """One event a line, as kube-apiserver's audit log has them."""
    for row in rows:
        yield msgspec.json.encode(event(row)) + b"\n"


def event_list(rows: Iterable[Row]) -> bytes:
    """An `EventList`, as an audit webhook receives it."""
    items = [event(row) for row in rows]
    return msgspec.json.encode(
        {"kind": "EventList", "apiVersion": API_VERSION, "metadata": {}, "items": items}
    )


def yaml_documents(rows: Iterable[Row]) -> Iterator[str]:
    """One YAML document an event. Every character that is not plain is escaped."""
    for row in rows:
        text = yaml.safe_dump(event(row), sort_keys=False, explicit_start=True)
        yield text


def csv_lines(rows: Iterable[Row]) -> Iterator[str]:
    """A heading and one line a row; no cell can be taken for a formula."""
    yield _line(COLUMNS)
    for row in rows:
        yield _line([_cell(name, getattr(row, name)) for name in COLUMNS])


def moment(at: int) -> str:
    """µs since the epoch as RFC 3339 in UTC; empty for 0."""
    if not at:
        return ""
    text = (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def _cell(name: str, value: str | int | None) -> str:
    if value is None:
        return ""
    if name == "at":
        return moment(int(value))
    text = value.strip("\n").replace("\n", " ") if name == "user_groups" else value  # type: ignore[union-attr]
    if isinstance(text, str) and text.startswith(_FORMULA):
        return f"'{text}"
    return str(text)


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return out.getvalue()
