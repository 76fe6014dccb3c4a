"""The index made anew from the journals, and compared with them record by record."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.verifying import FalseBlock, false_blocks, remake
from proxy.audit.index.rows import Row
from proxy.audit.index.rows import row as row_of
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.tailing import JournalTail
from proxy.audit.journal.archive import Archive
from proxy.data_dir import DataDir

ACTION: Final = "index.rebuild"
_PAGE: Final = 2000
"""Rows that are compared together."""

FillingIndex = PostgresIndex | SqliteIndex
Progress = Callable[[str, int, int], None]
"""Told the step, how much of it is done, and of how much (bytes, or records)."""


@dataclass
class Compared:
    """What the index has beside what the journals hold."""

    records: int = 0
    """In both, byte for byte."""
    missing: list[tuple[str, int]] = field(default_factory=list)
    """(writer, sequence) that only a journal has."""
    different: list[tuple[str, int]] = field(default_factory=list)
    """In both, and not the same: the line, or a column beside it."""
    unknown: list[tuple[str, int]] = field(default_factory=list)
    """Of a writer whose journals are here, and that no journal has."""

    @property
    def equal(self) -> bool:
        """Whether they hold the same."""
        return not (self.missing or self.different or self.unknown)


async def rebuild_sqlite(data: DataDir, progress: Progress) -> Compared:
    """Make the embedded index anew beside the present one, compare, and put it in its place.

    `serve` must not run on the directory. When they differ the former index stays.
    """
    path = data.index_database.with_name("index.new.db")
    _remove(path)
    index = await SqliteIndex.open(path)
    try:
        compared = await fill_and_compare(index, [data.journal], progress)
    finally:
        await index.close()
    if compared.equal:
        _remove(data.index_database)
        path.replace(data.index_database)
    _remove(path)
    return compared


async def fill_and_compare(
    index: FillingIndex, directories: Sequence[Path], progress: Progress
) -> Compared:
    """Add what the journals below `directories` hold and the index lacks, then compare all of it.

    What the index has stays as it is. Raises ForeignRecordsError when it has another record under
    a sequence that a journal has.
    """
    gone = await _removed(index)
    slots = sorted({path.parent for top in directories for path in top.rglob("*.jsonl")})
    total, done = sum(map(_written, slots)), 0
    for slot in slots:
        await _fill(index, slot, gone, partial(_told, progress, done, total))
        done += _written(slot)
        progress("filled", done, total)
    return await compare(index, Archive(directories), progress, gone)


async def _fill(index: FillingIndex, slot: Path, gone: "Gone", told: Callable[[int], None]) -> None:
    tail = JournalTail(slot)
    step = await asyncio.to_thread(tail.step)
    read = 0
    while step is not None:
        tail.accept(step)
        if step.rewind is not None:
            await index.rewind(tail.writer, step.rewind)
        rows = [row for row in step.rows if not gone.has(row)]
        await index.insert(rows, tail.writer, step.position)
        read += sum(len(row.line) for row in step.rows)
        told(read)
        step = await asyncio.to_thread(tail.step)


def _told(progress: Progress, before: int, total: int, here: int) -> None:
    progress("filled", before + here, total)


async def compare(
    index: FillingIndex, archive: Archive, progress: Progress, gone: "Gone | None" = None
) -> Compared:
    """Compare each writer's records in the index with those of the archive.

    What is `gone` is not missed.
    """
    compared, gone = Compared(), gone or Gone({})

    def miss(writer: str, seq: int, line: bytes) -> None:
        if not gone.has(row_of(writer, seq, line)):
            compared.missing.append((writer, seq))

    for writer in archive.writers:
        lines = iter(archive.lines(writer))
        seq = 0
        held = next(lines, None)
        while rows := await index.after(writer, seq, _PAGE):
            for row in rows:
                while held is not None and held[0] < row.seq:
                    miss(writer, *held)
                    held = next(lines, None)
                if held is None or held[0] > row.seq:
                    compared.unknown.append((writer, row.seq))
                    continue
                # What stands beside the line is what filters look at.
                if held[1] == row.line and row_of(writer, *held) == row:
                    compared.records += 1
                else:
                    compared.different.append((writer, row.seq))
                held = next(lines, None)
            seq = rows[-1].seq
            progress("compared", compared.records, 0)
        while held is not None:
            miss(writer, *held)
            held = next(lines, None)
    return compared


async def look_at_blocks(
    url: str, index: PostgresIndex, admin_url: str, progress: Progress
) -> tuple[list[FalseBlock], list[FalseBlock]]:
    """Blocks in PostgreSQL that hide records from searches: those found, and those that are left.

    To make them anew takes the rights of the owner, so all are left without an administrator's URL.
    """
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        progress("blocks", done, 0)

    found = await false_blocks(url, index, told)
    if not found or not admin_url:
        return found, found
    await remake(admin_url, found)
    return found, await false_blocks(url, index)


class Gone:
    """Days of each writer that a retention removed from the index: they stay away."""

    def __init__(self, spans: Mapping[str, Sequence[tuple[int, int]]]) -> None:
        self._spans = spans

    def has(self, row: Row) -> bool:
        """Whether `row` is of such a day."""
        return any(low <= row.at < high for low, high in self._spans.get(row.writer, ()))


async def _removed(index: FillingIndex) -> Gone:
    return Gone(await index.removed()) if isinstance(index, PostgresIndex) else Gone({})


def _written(slot: Path) -> int:
    return sum(path.stat().st_size for path in slot.glob("*.jsonl"))


def _remove(path: Path) -> None:
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
