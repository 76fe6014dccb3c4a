"""A simulated disk: what a POSIX file system may do at its worst, every crash state in reach.

Implements `proxy.audit.journal.storage.Storage` in memory. What it assumes, and nothing more:

* A sector (512 bytes) is what it was at some moment since its page was last made durable, each
  sector for itself: unsynced writes are lost, reordered and torn. One write at a time may also be
  cut at any byte.
* A file has any of the sizes it had since it was last synced.
* A sync that fails makes nothing durable and marks its pages clean all the same: later syncs
  succeed and lie about them, until they are written again ("fsyncgate"). The kernel may also drop
  such a page, and then what is read is what the disk holds (`forget`).
* `fdatasync` need not make a smaller size durable (`lazy_shrink`).
* Names that were created, renamed or removed since the directory was synced are there or not:
  each for itself (`ordered=False`, all that POSIX promises) or in order (as ext4 and XFS do).
  A directory's sync that fails may be repeated, because names are journaled.
"""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.faults.inode import Inode

EIO: Final = OSError(errno.EIO, os.strerror(errno.EIO))
ENOSPC: Final = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
EROFS: Final = OSError(errno.EROFS, os.strerror(errno.EROFS))


class Fault(NamedTuple):
    """What an operation does instead of succeeding."""

    error: OSError
    part: float = 0.0
    """How much of it happens all the same; of a write, the part of its bytes."""


class _Change(NamedTuple):
    """A change of names that is not durable yet."""

    directories: frozenset[str]
    """Those that must be synced for it, and have not been."""
    name: str
    inode: Inode | None
    """None: removed."""
    gone: str = ""
    """The old name, when it was renamed."""

    def apply(self, entries: dict[str, Inode]) -> None:
        if self.gone:
            entries.pop(self.gone, None)
        if self.inode is None:
            entries.pop(self.name, None)
        else:
            entries[self.name] = self.inode


class Disk:
    """The files, as running processes see them and as a power cut may leave them."""

    def __init__(self, *, ordered: bool = False, lazy_shrink: bool = False) -> None:
        self.ordered = ordered
        self.lazy_shrink = lazy_shrink
        self.entries: dict[str, Inode] = {}
        self.read_only = False
        self.fault: Callable[[str, str], Fault | None] | None = None
        """Asked before each operation: its kind and its path."""
        self.step: Callable[[str], object] | None = None
        """Told after each operation that can change what a crash leaves, and in the middle of it."""
        self._durable: dict[str, Inode] = {}
        self._changes: list[_Change] = []
        self._borrowed: set[str] = set()
        """Names of files that another disk has too: nobody writes to them before they are copied."""
        self._locks: set[str] = set()
        self.changed = 0
        """Moves with each change of names, as a directory's modification time does."""

    # -- Storage ------------------------------------------------------------------------------

    def make_directory(self, path: Path) -> None:
        """See Storage: directories are simply there."""

    def lock(self, path: Path) -> Callable[[], None]:
        key = str(path)
        if key in self._locks:
            raise BlockingIOError(errno.EWOULDBLOCK, "locked")
        self._locks.add(key)
        return lambda: self._locks.discard(key)

    def names(self, directory: Path) -> list[str]:
        prefix = f"{directory}/"
        return sorted(path[len(prefix) :] for path in self.entries if path.startswith(prefix))

    def read(self, path: Path, offset: int = 0, size: int = -1) -> bytes:
        self._refuse("read", str(path))
        data = self._find(path).content()
        if offset == 0 and (size < 0 or size >= len(data)):
            return data
        return data[offset:] if size < 0 else data[offset : offset + size]

    def size(self, path: Path) -> int:
        return self._find(path).size

    def create(self, path: Path, size: int) -> "DiskFile":
        key = str(path)
        fault = self._refuse("create", key, late=True)
        if key in self.entries:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), key)
        inode = Inode()
        self._change(key, inode)
        if fault is not None:  # no room for the preallocation: the name goes again
            self._change(key, None)
            self._happened("create")
            raise fault.error
        inode.truncate(size)
        self._happened("create")
        return DiskFile(self, key, inode)

    def open(self, path: Path) -> "DiskFile":
        self._refuse("open", str(path))
        return DiskFile(self, str(path), self._own(path))

    def rename(self, source: Path, target: Path) -> None:
        self._refuse("rename", str(source))
        inode = self._own(source)
        if str(target) in self.entries:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        self._change(str(target), inode, gone=str(source))
        self._happened("rename")

    def remove(self, path: Path) -> None:
        self._refuse("remove", str(path))
        if str(path) in self.entries:
            self._change(str(path), None)
            self._happened("remove")

    def sync_directory(self, path: Path) -> None:
        self._refuse("sync_directory", str(path))
        key = str(path)
        kept: list[_Change] = []
        for change in self._changes:
            rest = change.directories - {key}
            if rest or (self.ordered and kept):
                kept.append(change._replace(directories=rest))
            else:
                change.apply(self._durable)
        self._changes = kept
        self._happened("sync_directory")

    # -- what happens to disks ----------------------------------------------------------------

    def take_away(self, path: Path, instead: bytes | None = None) -> None:
        """Somebody deletes the file, or puts another in its place, for good."""
        key = str(path)
        self._changes = [
            change for change in self._changes if key not in (change.name, change.gone)
        ]
        for entries in (self.entries, self._durable):
            entries.pop(key, None)
            if instead is not None:
                entries[key] = Inode(instead)
        self.changed += 1

    def power_cut(self) -> "CrashStates":
        """Every state the disk may be in when the power goes now."""
        return CrashStates(self, self._durable, self._changes)

    def kill(self) -> "Disk":
        """The disk for the next process when this one dies now: all that was written is there."""
        disk = Disk(ordered=self.ordered, lazy_shrink=self.lazy_shrink)
        copies: dict[int, Inode] = {}
        changed = {id(change.inode) for change in self._changes}

        def copied(inode: Inode) -> Inode:
            key = id(inode)
            if not inode.pending and key not in changed:
                return inode
            if key not in copies:
                copies[key] = inode.copy()
            return copies[key]

        disk.entries = {name: copied(inode) for name, inode in self.entries.items()}
        disk._durable = {name: copied(inode) for name, inode in self._durable.items()}
        disk._changes = [
            change._replace(inode=copied(change.inode) if change.inode else None)
            for change in self._changes
        ]
        disk._borrowed = {
            name for name, inode in self.entries.items() if disk.entries[name] is inode
        }
        return disk

    def forget(self, choose: Callable[[int], int]) -> None:
        """Drop the clean pages: of those that a failed sync left, what the disk holds shows."""
        for inode in self.entries.values():
            if inode.limbo:
                inode.forget(choose)

    @classmethod
    def holding(cls, files: dict[str, Inode], borrowed: set[str], like: "Disk") -> "Disk":
        """A disk on which `files` are durable."""
        disk = cls(ordered=like.ordered, lazy_shrink=like.lazy_shrink)
        disk.entries = files
        disk._durable = dict(files)
        disk._borrowed = borrowed
        return disk

    # -- inner --------------------------------------------------------------------------------

    def _find(self, path: Path) -> Inode:
        try:
            return self.entries[str(path)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None

    def _own(self, path: Path) -> Inode:
        """The file, to write to it."""
        inode, key = self._find(path), str(path)
        if key in self._borrowed:
            self._borrowed.discard(key)
            copy = inode.copy()
            for entries in (self.entries, self._durable):
                if entries.get(key) is inode:
                    entries[key] = copy
            return copy
        return inode

    def _change(self, name: str, inode: Inode | None, gone: str = "") -> None:
        directories = frozenset(path.rpartition("/")[0] for path in (name, gone) if path)
        change = _Change(directories, name, inode, gone)
        self._changes.append(change)
        change.apply(self.entries)
        self.changed += 1

    def _refuse(self, kind: str, path: str, *, late: bool = False) -> Fault | None:
        if self.read_only and kind not in ("read", "open"):
            raise EROFS
        fault = self.fault(kind, path) if self.fault is not None else None
        if fault is not None and not (late and fault.part):
            raise fault.error
        return fault

    def _happened(self, kind: str) -> None:
        if self.step is not None:
            self.step(kind)


class DiskFile:
    """An open file of a simulated disk."""

    def __init__(self, disk: Disk, path: str, inode: Inode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode
        self.closed = False

    def write(self, data: bytes, offset: int) -> None:
        disk = self._disk
        fault = disk._refuse("write", self._path, late=True)
        taken = len(data) if fault is None else int(len(data) * fault.part)
        half = taken // 2
        if half and disk.step is not None:  # a process can be killed within a write
            self._inode.write(data[:half], offset)
            disk._happened("half a write")
        if taken:
            self._inode.write(data[:taken], offset)
        disk._happened("write")
        if fault is not None:
            raise fault.error

    def sync(self) -> None:
        disk = self._disk
        if disk.read_only:
            raise EROFS
        fault = disk.fault("sync", self._path) if disk.fault is not None else None
        if fault is not None:
            self._inode.sync_failed()
            disk._happened("failed sync")
            raise fault.error
        self._inode.sync(lazy_shrink=disk.lazy_shrink)
        disk._happened("sync")

    def read(self, offset: int, size: int) -> bytes:
        self._disk._refuse("read", self._path)
        return self._inode.content()[offset : offset + size]

    def truncate(self, size: int) -> None:
        self._disk._refuse("truncate", self._path)
        self._inode.truncate(size)
        self._disk._happened("truncate")

    def misplaced(self, size: int) -> str:
        there = self._disk.entries.get(self._path)
        if there is None:
            return f"{self._path} was deleted or moved"
        if there is not self._inode:
            return f"{self._path} was replaced by another file"
        return f"{self._path} was truncated" if self._inode.size < size else ""

    def close(self) -> None:
        self.closed = True


class CrashStates:
    """The states a power cut may leave, each named by a list of digits.

    One digit for each sector that is not durable (which of its contents), for each file that had
    several sizes, and for each change of names; all zeros is what is surely durable.
    """

    def __init__(self, disk: Disk, durable: dict[str, Inode], changes: list[_Change]) -> None:
        self._disk = disk
        self._durable = durable
        self._changes = list(changes)
        inodes = [*durable.values(), *(change.inode for change in changes if change.inode)]
        self._pending = {id(inode): inode for inode in inodes if inode.pending}
        names = [len(changes) + 1] if disk.ordered and changes else [2] * len(changes)
        self.radices = names + [
            radix for inode in self._pending.values() for radix in inode.radices()
        ]
        self._names = len(names)
        self.count = 1
        for radix in self.radices:
            self.count *= radix

    def every(self) -> Iterator[list[int]]:
        """All of them; `count` says how many."""
        digits = [0] * len(self.radices)
        while True:
            yield list(digits)
            for place, radix in enumerate(self.radices):
                digits[place] += 1
                if digits[place] < radix:
                    break
                digits[place] = 0
            else:
                return

    def state(self, digits: list[int], tear: Callable[[int], int] | None = None) -> Disk:
        """The disk in one of its states. `tear(n)` below n also cuts one write at a byte."""
        entries = dict(self._durable)
        chosen = digits[: self._names]
        if self._disk.ordered and self._changes:
            chosen = [1] * chosen[0]
        for change, happened in zip(self._changes, chosen, strict=False):
            if happened:
                change.apply(entries)
        after: dict[int, Inode] = {}
        place = self._names
        for key, inode in self._pending.items():
            width = len(inode.radices())
            after[key] = Inode(inode.after(digits[place : place + width], tear))
            place += width
        files = {name: after.get(id(inode), inode) for name, inode in entries.items()}
        borrowed = {name for name, inode in entries.items() if id(inode) not in after}
        return Disk.holding(files, borrowed, self._disk)
