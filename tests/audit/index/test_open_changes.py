"""Which calls a batch opens and ends."""

import pytest

from proxy.audit.index.open_changes import open_changes
from proxy.audit.index.rows import Row


def event(seq: int, audit_id: str, stage: str, *, terminal: bool = False) -> Row:
    return Row("w-0", seq, "Event", audit_id, stage, terminal, at=seq * 10)


BEGIN, STARTED, END = "RequestReceived", "ResponseStarted", "ResponseComplete"


@pytest.mark.parametrize(
    ("rows", "opened", "closed"),
    [
        ([], [], []),
        ([event(1, "a", BEGIN)], [("a", "w-0", 1, 10)], []),
        ([event(1, "a", BEGIN), event(2, "a", STARTED)], [("a", "w-0", 2, 20)], []),
        ([event(1, "a", BEGIN), event(2, "a", END, terminal=True)], [], []),
        ([event(2, "a", END, terminal=True)], [], [("a", 20)]),
        ([event(1, "a", STARTED), event(2, "a", END, terminal=True)], [], [("a", 20)]),
        (
            [event(1, "a", END, terminal=True), event(2, "b", BEGIN)],
            [("b", "w-0", 2, 20)],
            [("a", 10)],
        ),
        ([Row("w-0", 1, "SystemEvent", "s", at=10)], [], []),
    ],
)
def test_what_a_batch_opens_and_ends(
    rows: list[Row], opened: list[tuple[str, str, int, int]], closed: list[tuple[str, int]]
) -> None:
    assert open_changes(rows) == (opened, closed)
