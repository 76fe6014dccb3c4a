"""Whether old records may leave the index: nothing leaves that is not elsewhere, byte for byte."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

from proxy.audit.journal.archive import Archive
from proxy.errors import ConflictError


class MissingRecordError(ConflictError):
    """The archive lacks a record of the index, or has another in its place."""


class Checked(NamedTuple):
    """What was looked at."""

    records: int
    writers: int


async def check(
    records: AsyncIterator[tuple[str, int, bytes]],
    archive: Archive,
    progress: Callable[[int], None] = lambda _: None,
) -> Checked:
    """Find each of `records` (writer, sequence, line; by writer and sequence) in the archive.

    `progress` is told how many were found since it was told last. Raises MissingRecordError naming
    the first that is not there as it is in the index.
    """
    count, told, writers = 0, 0, 0
    present = ""
    lines: Iterator[tuple[int, bytes]] = iter(())
    held: tuple[int, bytes] | None = None
    async for writer, seq, line in records:
        if writer != present:
            present, writers = writer, writers + 1
            lines = archive.lines(writer, seq)
            held = None
        while held is None or held[0] < seq:
            held = next(lines, None)
            if held is None:
                break
        if held is None or held[0] != seq:
            raise MissingRecordError(
                f"The archive does not have record {seq} of writer {writer}.",
                hint="Copy that writer's journal segments to the archive first.",
            )
        if held[1] != line:
            raise MissingRecordError(
                f"Record {seq} of writer {writer} is another in the archive than in the index.",
                hint="One of them was altered; nothing is removed before you know which.",
            )
        count += 1
        if count - told >= 1000:
            progress(count - told)
            told = count
    progress(count - told)
    return Checked(count, writers)
