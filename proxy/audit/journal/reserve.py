"""The reserve: disk space kept back, so that somebody can still repair what fills the disk.

A preallocated file of zeros in the journal's directory. When a new segment finds no room, the
reserve is renamed into its place, and what the calls under way still have to say is written there,
and the calls of break-glass. It is made anew when there is room again. Blocking; belongs to the
journal's thread.
"""

import errno
from pathlib import Path
from typing import Final

from proxy.audit.journal.storage import Storage

NAME: Final = "reserve"
_DRAFT: Final = "reserve.new"
_LEAST: Final = 1024 * 1024
"""Bytes below which scraping together a smaller reserve is not worth it."""
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that say that space is what is missing."""


class Reserve:
    """The reserve of one journal: `wanted` bytes, 0 for none."""

    def __init__(self, storage: Storage, directory: Path, wanted: int) -> None:
        self._storage = storage
        self._directory = directory
        self.path = directory / NAME
        self.wanted = wanted
        self.size = 0
        """Bytes kept back now."""

    @property
    def complete(self) -> bool:
        """Whether what is wanted is kept back, no less and no more."""
        return self.size == self.wanted

    def find(self) -> None:
        """Look for what an earlier process kept back. Raises OSError."""
        names = self._storage.names(self._directory)
        if _DRAFT in names:
            self._storage.remove(self._directory / _DRAFT)
        self.size = self._storage.size(self.path) if NAME in names else 0

    def make(self) -> None:
        """Keep back what is wanted. Raises OSError when there is no room for it."""
        if self.complete:
            return
        if not self.wanted:
            self.discard()
        elif self.size > self.wanted:
            self._shrink()
        else:
            self._make(self.wanted)

    def offer(self, least: int) -> int:
        """The bytes that `path` now has for a segment; 0 when not even `least` can be had.

        Without a reserve, as much as the disk still has: half of what is wanted, or a quarter, …
        """
        size = self.wanted
        while self.size < least and size // 2 >= max(least, _LEAST):
            size //= 2
            try:
                self._make(size)
            except OSError as error:
                if error.errno not in FULL:
                    return 0
        return self.size if self.size >= least else 0

    def taken(self) -> None:
        """The file was renamed to be a segment."""
        self.size = 0

    def discard(self) -> None:
        """Give the space back. Raises OSError."""
        self._storage.remove(self.path)
        self.size = 0

    def _shrink(self) -> None:
        """Give back what is too much. In place: a smaller copy might find no room beside it."""
        file = self._storage.open(self.path)
        try:
            file.truncate(self.wanted)
            file.sync()
        finally:
            file.close()
        self.size = self.wanted

    def _make(self, size: int) -> None:
        draft = self._directory / _DRAFT
        self._storage.remove(draft)
        file = self._storage.create(draft, size)
        try:
            file.sync()
        finally:
            file.close()
        self.discard()  # a smaller one, or one that we do not know of
        self._storage.rename(draft, self.path)
        self._storage.sync_directory(self._directory)
        self.size = size
