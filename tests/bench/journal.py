"""A long journal for the benchmark: generated events in real segments, as a writer leaves them."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from proxy.audit.journal.records import VERSION, Header, SegmentName, frame, line
from tests.bench.generate_events import EVENTS_A_CALL, bodies

WRITER: Final = "bench-0"
RECORDS: Final = 64
"""Of a batch: about what gathers during a sync under load."""
SEGMENT: Final = 64 * 1024 * 1024
DONE: Final = "done"


def write(directory: Path, calls: int) -> None:
    """Write the journal of so many calls; each segment appears when it is whole."""
    os.nice(5)  # who drains it goes first
    number, seq, prev = 0, 1, ""
    parts: list[bytes] = []
    size = 0
    waiting: list[bytes] = []

    def finish() -> None:
        nonlocal number, parts, size
        number += 1
        made = directory / "part"
        made.write_bytes(b"".join(parts))
        made.rename(directory / str(SegmentName(1, number)))
        parts, size = [], 0

    def close() -> None:
        nonlocal seq, prev, size, waiting
        if not waiting:
            return
        if not parts:
            opened = "2026-01-01T00:00:00.000000Z"
            parts.append(line(Header(VERSION, WRITER, 1, number + 1, seq, prev, opened)))
        salts = b"".join(b"%032x" % ((seq + at) * 0x9E3779B97F4A7C15) for at in range(len(waiting)))
        batch = frame(waiting, salts, seq, prev)
        seq, prev, waiting = batch.last + 1, batch.sha256, []
        parts.append(batch.data)
        size += len(batch.data)
        if size >= SEGMENT:
            finish()

    for body in bodies(calls):
        waiting.append(body)
        if len(waiting) == RECORDS:
            close()
    close()
    if parts:
        finish()
    (directory / DONE).touch()


@contextmanager
def growing(directory: Path, events: int) -> Iterator[None]:
    """A journal of about so many events below `directory`, written by a process of its own."""
    place = directory / WRITER
    if (place / DONE).exists():
        yield
        return
    place.mkdir(parents=True)
    calls = int(events / EVENTS_A_CALL)
    making = multiprocessing.Process(target=write, args=(place, calls), daemon=True)
    making.start()
    try:
        yield
    finally:
        making.kill()
        making.join()


def is_whole(directory: Path) -> bool:
    """Whether all of it is written."""
    return (directory / WRITER / DONE).exists()
