"""The index made anew from the journals, and compared with them record by record."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.verifying import FalseBlock, false_blocks, remake
from proxy.audit.index.rows import Row
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import ForeignRecordsError, Position
from proxy.audit.index.tailing import JournalTail, newest
from proxy.audit.journal.archive import Archive
from proxy.audit.journal.records import parse_name, segments
from proxy.data_dir import DataDir
from proxy.runtime.comparing import Compared, Gone, Progress, What, compare
from proxy.runtime.open_calls import OpenCalls

ACTION: Final = "index.rebuild"

FillingIndex = PostgresIndex | SqliteIndex


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

    What the index has stays as it is, also where a journal has another record.
    """
    walk, compared, gone = index.walk(), Compared(), await _removed(index)
    ends = await asyncio.to_thread(_ends, Archive(directories))
    tops = {writer: await walk.last(writer) for writer in ends}
    slots = sorted({path.parent for top in directories for path in top.rglob("*.jsonl")})
    total, done = sum(map(_written, slots)), 0
    for slot in slots:
        await _fill(
            index, slot, _Adding(index, gone, tops, compared), partial(_told, progress, done, total)
        )
        done += _written(slot)
        progress("filled", done, total)
    calls = OpenCalls()
    await compare(walk, directories, ends, gone, compared, progress, calls.take)
    if isinstance(index, PostgresIndex):
        compared.calls_put_right, compared.calls_left = await calls.put_right(index)
    return compared


def _ends(archive: Archive) -> dict[str, int]:
    """By writer, the last sequence of its journals; 0 while they have none."""
    return {
        writer: next(
            (
                trailer.last
                for segment in reversed(archive.segments(writer))
                if (trailer := newest(segment.path)) is not None
            ),
            0,
        )
        for writer in archive.writers
    }


async def _fill(
    index: FillingIndex, slot: Path, adding: "_Adding", told: Callable[[int], None]
) -> None:
    # Up to where the journal is now: whoever writes it may be as fast as we are.
    end = await asyncio.to_thread(_end, slot)
    tail = JournalTail(slot)
    read = 0
    while _reached(tail.position) < end:
        step = await asyncio.to_thread(tail.step)
        if step is None:
            break  # the rest of it is damaged
        tail.accept(step)
        if step.rewind is not None:
            await index.rewind(tail.writer, step.rewind)
        await adding.add(step.rows, tail.writer, step.position)
        read += sum(len(row.line) for row in step.rows)
        told(read)
    await adding.end()


def _reached(position: Position) -> tuple[int, ...]:
    return (*(parse_name(position.segment) or (0, 0)), position.seq)


def _end(slot: Path) -> tuple[int, ...]:
    """How far `_reached` comes, with what the journal has now."""
    for name in reversed(segments([path.name for path in slot.iterdir()])):
        trailer = newest(slot / str(name))
        if trailer is not None:
            return (*name, trailer.last)
    return (0, 0, 0)


@dataclass
class _Adding:
    """Adds to the index what it lacks, and names what was taken from it."""

    index: FillingIndex
    gone: Gone
    tops: dict[str, int]
    """By writer, the last sequence in the index before anything was added."""
    compared: Compared
    last: tuple[Row, Position] | None = None

    async def add(self, rows: Sequence[Row], writer: str, position: Position) -> None:
        """Add rows of one writer, in order; what is under a sequence already stays."""
        kept = [row for row in rows if not self.gone.has(row)]
        there: set[int] = set()
        if kept:
            self.last = kept[-1], position
            there = await self.index.walk().sequences(writer, kept[0].seq, kept[-1].seq)
        added = [row for row in kept if row.seq not in there]
        # What somebody else puts there at this moment is named by the comparison.
        with suppress(ForeignRecordsError):
            await self.index.insert(added, writer, position)
            for row in added:
                if row.seq < self.tops.get(writer, 0):
                    self.compared.found(What.RESTORED, writer, row.seq)

    async def end(self) -> None:
        """Nothing follows. Told its last row, an index sees whether its last blocks are there."""
        if self.last is not None:
            row, position = self.last
            with suppress(ForeignRecordsError):
                await self.index.insert([row], row.writer, position)


def _told(progress: Progress, before: int, total: int, here: int) -> None:
    progress("filled", before + here, total)


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


async def _removed(index: FillingIndex) -> Gone:
    return Gone(await index.removed()) if isinstance(index, PostgresIndex) else Gone({})


def _written(slot: Path) -> int:
    return sum(path.stat().st_size for path in slot.glob("*.jsonl"))


def _remove(path: Path) -> None:
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
