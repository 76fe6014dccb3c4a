"""What a batch of rows changes about which calls are open."""

from collections.abc import Sequence
from typing import NamedTuple

from proxy.audit.event import Stage
from proxy.audit.index.rows import EVENT, Row


class Opened(NamedTuple):
    """The latest event of a call that has no terminal one."""

    audit_id: str
    writer: str
    seq: int
    at: int


class Closed(NamedTuple):
    """A call that has its terminal event now."""

    audit_id: str
    at: int
    """The terminal event's time."""


def open_changes(rows: Sequence[Row]) -> tuple[list[Opened], list[Closed]]:
    """The calls that these rows leave open, and those begun earlier that they end."""
    opened: dict[str, Opened] = {}
    begun: set[str] = set()
    closed: list[Closed] = []
    for row in rows:
        if row.kind != EVENT:
            continue
        if not row.terminal:
            opened[row.audit_id] = Opened(row.audit_id, row.writer, row.seq, row.at)
            if row.stage == Stage.REQUEST_RECEIVED:
                begun.add(row.audit_id)
            continue
        opened.pop(row.audit_id, None)
        if row.audit_id not in begun:
            closed.append(Closed(row.audit_id, row.at))
    return list(opened.values()), closed
