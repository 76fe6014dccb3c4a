"""The file operations a journal needs, as a port, and their real implementation.

A journal's correctness is decided by what may be lost between a write and a sync, so nothing
above this port touches a file. Each operation maps to one system call that a simulated disk can
lose, tear, delay or refuse. Every operation may raise OSError; none retries.
"""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700


class SegmentFile(Protocol):
    """One open file of a journal, written by one thread."""

    def write(self, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`; durable only after `sync`."""
        ...

    def sync(self) -> None:
        """Make what was written durable. After an error nothing may be believed about the file."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`, of this file even when it is no longer at its path."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        ...

    def misplaced(self, size: int) -> str:
        """Why this is no longer the file at its path; empty while it is.

        A deleted or replaced file can be written and synced without an error, and the records
        are gone all the same. `size` is the least number of bytes the file must have.
        """
        ...

    def close(self) -> None:
        """Give the file back; never syncs."""
        ...


class Storage(Protocol):
    """Where the files of a journal live."""

    def make_directory(self, path: Path) -> None:
        """Create `path` and its parents, private to us and durable; one that exists is fine."""
        ...

    def lock(self, path: Path) -> Callable[[], None]:
        """Lock `path` against every other process and return what unlocks it.

        Raises BlockingIOError when another process holds it.
        """
        ...

    def names(self, directory: Path) -> list[str]:
        """Names in `directory`, sorted; empty when there is no such directory."""
        ...

    def read(self, path: Path, offset: int = 0, size: int = -1) -> bytes:
        """At most `size` bytes of `path` from `offset`; to its end when `size` is negative."""
        ...

    def size(self, path: Path) -> int:
        """The length of `path` in bytes."""
        ...

    def create(self, path: Path, size: int) -> SegmentFile:
        """Create `path`, which must not exist, with `size` preallocated zero bytes."""
        ...

    def open(self, path: Path) -> SegmentFile:
        """Open the existing `path` to cut or sync it."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give `source` another name in the same directory; durable after `sync_directory`.

        Raises FileExistsError when `target` exists: nothing is ever replaced. A SegmentFile that
        was opened under the old name must not be used any more.
        """
        ...

    def remove(self, path: Path) -> None:
        """Remove a file that never held a durable record; one that is not there is fine."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Make the names in `path` durable."""
        ...


class _File:
    """A real file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)

    def write(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):  # a signal or a nearly full disk can cut a write short
            more = os.pwrite(self._descriptor, memoryview(data)[written:], offset + written)
            if more == 0:
                raise OSError(f"{self._path}: the disk took only {written} of {len(data)} bytes")
            written += more

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def misplaced(self, size: int) -> str:
        try:
            # By path only: the open descriptor keeps our inode number from being used again.
            status = os.stat(self._path)  # noqa: PTH116  # the hot path; Path.stat costs as much again
        except FileNotFoundError:
            return f"{self._path} was deleted or moved"
        except OSError as error:
            return f"{self._path} cannot be examined: {error.strerror}"
        if (status.st_dev, status.st_ino) != self._identity:
            return f"{self._path} was replaced by another file"
        if status.st_size < size:
            return f"{self._path} was truncated"
        return ""

    def close(self) -> None:
        os.close(self._descriptor)


class FileStorage:
    """Real files of the local file system."""

    def make_directory(self, path: Path) -> None:
        """See Storage."""
        missing = [part for part in (path, *path.parents) if not part.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
            self.sync_directory(directory.parent)

    def lock(self, path: Path) -> Callable[[], None]:
        """See Storage. flock(2): the kernel drops it when the process dies, however it dies."""
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, _FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return lambda: os.close(descriptor)

    def names(self, directory: Path) -> list[str]:
        """See Storage."""
        try:
            return sorted(os.listdir(directory))  # noqa: PTH208  # names only, no Path for each
        except FileNotFoundError:
            return []

    def read(self, path: Path, offset: int = 0, size: int = -1) -> bytes:
        """See Storage."""
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size)

    def size(self, path: Path) -> int:
        """See Storage."""
        return path.stat().st_size

    def create(self, path: Path, size: int) -> SegmentFile:
        """See Storage. Space is taken now, so that a full disk shows here and not mid-batch."""
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, _FILE_MODE)
        try:
            os.posix_fallocate(descriptor, 0, size)
            return _File(path, descriptor)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise

    def open(self, path: Path) -> SegmentFile:
        """See Storage."""
        return _File(path, os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))

    def rename(self, source: Path, target: Path) -> None:
        """See Storage. The journal's lock is ours, so nobody creates `target` in between."""
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)

    def remove(self, path: Path) -> None:
        """See Storage."""
        path.unlink(missing_ok=True)

    def sync_directory(self, path: Path) -> None:
        """See Storage."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
