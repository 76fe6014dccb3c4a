"""The index made anew from the journals, and compared with them record by record."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxy.audit.archive import Archive
from proxy.audit.postgres import PostgresIndex
from proxy.audit.sqlite import SqliteIndex
from proxy.audit.tailing import JournalTail
from proxy.data_dir import DataDir

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
    """In both, and not the same."""
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
    slots = sorted({path.parent for top in directories for path in top.rglob("*.jsonl")})
    total, done = sum(map(_written, slots)), 0
    for slot in slots:
        await _fill(index, slot, lambda here, before=done: progress("filled", before + here, total))  # type: ignore[misc]
        done += _written(slot)
        progress("filled", done, total)
    return await compare(index, Archive(directories), progress)


async def _fill(index: FillingIndex, slot: Path, told: Callable[[int], None]) -> None:
    tail = JournalTail(slot)
    step = await asyncio.to_thread(tail.step)
    read = 0
    while step is not None:
        tail.accept(step)
        if step.rewind is not None:
            await index.rewind(tail.writer, step.rewind)
        await index.insert(step.rows, tail.writer, step.position)
        read += sum(len(row.line) for row in step.rows)
        told(read)
        step = await asyncio.to_thread(tail.step)


async def compare(index: FillingIndex, archive: Archive, progress: Progress) -> Compared:
    """Compare each writer's records in the index with those of the archive."""
    compared = Compared()
    for writer in archive.writers:
        lines = iter(archive.lines(writer))
        seq = 0
        held = next(lines, None)
        while rows := await index.after(writer, seq, _PAGE):
            for row in rows:
                while held is not None and held[0] < row.seq:
                    compared.missing.append((writer, held[0]))
                    held = next(lines, None)
                if held is None or held[0] > row.seq:
                    compared.unknown.append((writer, row.seq))
                    continue
                if held[1] == row.line:
                    compared.records += 1
                else:
                    compared.different.append((writer, row.seq))
                held = next(lines, None)
            seq = rows[-1].seq
            progress("compared", compared.records, 0)
        while held is not None:
            compared.missing.append((writer, held[0]))
            held = next(lines, None)
    return compared


def _written(slot: Path) -> int:
    return sum(path.stat().st_size for path in slot.glob("*.jsonl"))


def _remove(path: Path) -> None:
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
