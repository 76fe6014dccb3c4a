"""The oracle itself: what it must say of a journal, and what it must not."""

from pathlib import Path

from proxy.audit.journal.records import VERSION, Header, frame, line
from proxy.audit.journal.segments import Segments
from proxy.audit.journal.storage import FileStorage
from proxy.clock import ManualClock
from tests.audit.journals import NOW, a_call, intent
from tests.faults.fork_server import body_of_event
from tests.faults.oracle import Oracle

_SALT = b"00" * 16


def test_only_a_batch_of_the_next_epoch_must_have_closed_what_was_open(tmp_path: Path) -> None:
    call = a_call()
    left = frame([intent(call)], _SALT, 1, "0" * 64)
    Segments(
        FileStorage(),
        tmp_path,
        writer="w",
        epoch=1,
        segment_bytes=8192,
        clock=ManualClock(NOW),
    ).commit(left)
    oracle = Oracle(tmp_path, tmp_path / "effects.log", [], strangers=True)
    header = Header(VERSION, "w", 2, 1, 2, left.sha256, "2027-01-15T08:00:00.000000Z")
    started = tmp_path / "000002-000001.jsonl"

    # A start that was killed between its header and its first batch has settled nothing yet.
    started.write_bytes(line(header) + b"\0" * 512)
    oracle.check()
    assert oracle.violations == []

    first = frame([body_of_event()], _SALT, 2, left.sha256)
    started.write_bytes(line(header) + first.data + b"\0" * 512)
    oracle.check()
    (said,) = oracle.violations
    assert said.startswith(call.audit_id)
    assert said.endswith("without a terminal event")
