"""The index's view of a simulated journal: `JournalTail` on a disk that is not there."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from proxy.audit.index.store import Position
from proxy.audit.index.tailing import START, JournalTail
from tests.faults.disk import Disk


class DiskPath:
    """As much of a Path on a simulated disk as a reader uses."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._path = path
        self.name = path.name

    def __truediv__(self, name: str) -> "DiskPath":
        return DiskPath(self._disk, self._path / name)

    def __str__(self) -> str:
        return str(self._path)

    def iterdir(self) -> Iterator["DiskPath"]:
        return (self / name for name in self._disk.names(self._path))

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_mtime_ns=1 + self._disk.changed)

    def open(self, mode: str) -> io.BytesIO:
        if mode != "rb":
            raise AssertionError("a tail only reads")
        return io.BytesIO(self._disk.read(self._path))


def tail(disk: Disk, directory: Path, position: Position = START) -> JournalTail:
    return JournalTail(cast(Path, DiskPath(disk, directory)), position)


def followed(disk: Disk, directory: Path) -> list[bytes]:
    """The lines an index would hold that read the journal from its beginning."""
    lines: dict[int, bytes] = {}
    follow(tail(disk, directory), lines)
    return list(lines.values())


def follow(reader: JournalTail, lines: dict[int, bytes]) -> None:
    """Read to the end; `lines` is changed as an index would be."""
    while (step := reader.step()) is not None:
        if step.rewind is not None:
            for seq in [seq for seq in lines if seq >= step.rewind]:
                del lines[seq]
        for row in step.rows:
            lines[row.seq] = row.line
        reader.accept(step)
