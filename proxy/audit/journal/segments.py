"""Writing segments: one batch at a time, durable or an error, on whatever `Storage` is given.

Blocking and without threads or clocks of its own: the writer's thread calls it, and so may a
test with a simulated disk. Rules (each one is somebody's lost log):

1. A batch counts as durable only after a sync of the file that stands at its path.
2. After a failed write or sync the file is never synced again; the batch goes to a new segment.
3. When that fails too, the error is the caller's, and the same batch may be tried again.
4. A segment's name is durable before anything is written to it, and its header before its first
   batch: the reserve stays zeros whatever a power cut takes back, and a batch behind no header is
   damage. One that got no further is removed again. So is one whose first batch failed, unless
   the epoch has no other: that batch may have been read, and the next process, which goes by the
   names it finds, must not give the name to other records.
5. A segment that somebody took away is an error of its own, never survived in silence; before the
   batch is tried again, what the segment held is saved (`proxy.audit.journal.rescue`).
6. A segment has its name only when its space is there, and writing never goes back to an earlier
   one: readers take a segment for final once there is a later one.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from proxy.audit.journal.records import VERSION, Batch, Header, Seal, SegmentName, line
from proxy.audit.journal.rescue import Lost, Rescued, gone, rescue
from proxy.audit.journal.reserve import FULL, Reserve
from proxy.audit.journal.storage import SegmentFile, Storage
from proxy.clock import Clock, rfc3339

_log = structlog.get_logger(__name__)

_NEXT: Final = "next"
"""The next segment while it has no name yet."""
_TRIES: Final = 3
"""Attempts to save a segment's records while the disk works otherwise."""


class MisplacedFileError(OSError):
    """The segment was deleted, replaced or cut while it was being written."""


class Finished(NamedTuple):
    """A segment that nothing more is written to."""

    name: SegmentName
    end: int
    """Where its durable batches end."""
    seq: int
    """The last record there."""
    sha256: str
    """The checksum of the last batch there."""


class _Open(NamedTuple):
    """The segment being written."""

    file: SegmentFile
    name: SegmentName
    capacity: int
    """Its length. The last byte stays unused: a file that is shorter was cut by somebody."""
    first: int
    """The sequence it begins with."""


class Segments:
    """The segment files of one writer in one epoch."""

    def __init__(
        self,
        storage: Storage,
        directory: Path,
        *,
        writer: str,
        epoch: int,
        segment_bytes: int,
        clock: Clock,
        reserve: Reserve | None = None,
        on_finished: Callable[[Finished], None] = lambda _: None,
    ) -> None:
        self._storage = storage
        self._directory = directory
        self._writer = writer
        self._epoch = epoch
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._reserve = reserve or Reserve(storage, directory, 0)
        self._on_finished = on_finished
        self._number = 0
        self._open: _Open | None = None
        self._end = 0
        """Where the next batch goes; all before it is durable."""
        self._last: Batch | None = None
        """The last batch that became durable."""
        self._prepared = 0
        """Length of the file that waits for its name; 0 when there is none."""
        self._lost: Lost | None = None
        self._tries = 0
        self.in_reserve = False
        """Whether batches go to the reserve, because the disk is full."""
        self.trouble = ""
        """What failed and was survived by moving to a new segment; for the caller to take."""
        self.rescued: list[Rescued] = []
        """What became of segments that were taken away; for the caller to take."""

    @property
    def reserve_room(self) -> int:
        """Bytes that still fit in the reserve; 0 when batches do not go there."""
        present = self._open  # read from another thread
        return present.capacity - self._end if self.in_reserve and present is not None else 0

    def commit(self, batch: Batch) -> None:
        """Make `batch` durable, in a new segment if need be, in the reserve if nothing else is left.

        Raises OSError when none of them could take it, and MisplacedFileError when the present
        segment was taken away, wherever the batch would still fit. Then the same batch comes next.
        """
        if self._lost is not None:
            self._save(self._lost)
        full = self._prepared or self._open_rest() <= len(batch.data)
        if self._open is not None and full:
            self._finish(self._open)
        if self._open is not None:
            try:
                self._write(self._open, batch)
            except OSError as error:
                self._fail(self._open, error)
            else:
                return
        self._begin(batch)

    def prepare(self) -> None:
        """Make the space of an ordinary segment ready: the next batch leaves the reserve for it.

        Raises OSError when there is no room yet.
        """
        self._make_ready(self._segment_bytes)

    def close(self, seal: Seal) -> None:
        """Write the seal, cut the unused tail, and give the file back.

        Raises OSError when the seal could not be made durable; the file is given back even then.
        Raises MisplacedFileError when the segment was taken away; `abandon` then saves what it held.
        """
        if self._prepared:
            with contextlib.suppress(OSError):
                self._storage.remove(self._directory / _NEXT)
        if self._open is not None:
            self._refuse_misplaced(self._open)
        present, self._open = self._open, None
        if present is None:
            return
        data = line(seal)
        try:
            present.file.write(data, self._end)
            present.file.truncate(self._end + len(data))
            present.file.sync()
        finally:
            present.file.close()

    def abandon(self) -> None:
        """Give the file back as it is, as a crash would; what only we still have is saved."""
        if self._open is not None:
            self._drop(self._open)
        for _ in range(_TRIES):
            if self._lost is not None:
                with contextlib.suppress(OSError):
                    self._save(self._lost)

    def _open_rest(self) -> int:
        return self._open.capacity - self._end if self._open is not None else 0

    # -- writing -------------------------------------------------------------------------------

    def _write(self, present: _Open, batch: Batch) -> None:
        present.file.write(batch.data, self._end)
        present.file.sync()
        if problem := present.file.misplaced(present.capacity):
            raise MisplacedFileError(problem)
        self._end += len(batch.data)
        self._last = batch

    def _begin(self, batch: Batch) -> None:
        """Create the next segment with `batch` in it."""
        name = SegmentName(self._epoch, self._number + 1)
        header = self._header(batch, name, 0)
        source, capacity = self._room(len(header) + len(batch.data) + 1)
        self._number += 1
        path = self._directory / str(name)
        self._storage.rename(source, path)
        from_reserve = source == self._reserve.path
        if from_reserve:
            self._reserve.taken()
        else:
            self._prepared = 0
        present = _Open(self._storage.open(path), name, capacity, batch.first)
        try:
            self._fill(present, header, batch)
        except OSError as error:
            self._give_up(present, len(header) + len(batch.data), error)
            raise
        self._open, self.in_reserve = present, from_reserve

    def _fill(self, present: _Open, header: bytes, batch: Batch) -> None:
        """Make the name durable, then the header, then the batch."""
        self._end = 0
        self._storage.sync_directory(self._directory)
        present.file.write(header, 0)
        present.file.sync()
        self._end = len(header)
        self._write(present, batch)

    def _give_up(self, present: _Open, written: int, error: OSError) -> None:
        """Leave a segment that could not be begun; `written` bytes were to stand there."""
        if not isinstance(error, MisplacedFileError):  # what stands there is not ours to remove
            with contextlib.suppress(OSError):
                if self._end and self._last is None:
                    present.file.truncate(written)
                else:
                    self._storage.remove(self._directory / str(present.name))
        self._drop(present)

    def _header(self, batch: Batch, name: SegmentName, replaces: int) -> bytes:
        return line(
            Header(
                version=VERSION,
                writer=self._writer,
                epoch=name.epoch,
                segment=name.number,
                first_seq=batch.first,
                prev=batch.prev,
                opened_at=rfc3339(self._clock.now()),
                replaces=replaces,
            )
        )

    def _room(self, needed: int) -> tuple[Path, int]:
        """A file without a name that has room for `needed` bytes, and its length."""
        try:
            self._make_ready(max(self._segment_bytes, needed))
        except OSError as error:
            size = self._reserve.offer(needed) if error.errno in FULL else 0
            if not size:
                raise
            _log.error("the disk is full, the journal goes to its reserve", bytes=size)
            return self._reserve.path, size
        return self._directory / _NEXT, self._prepared

    def _make_ready(self, size: int) -> None:
        """Create the file that the next segment will be."""
        if self._prepared >= size:
            return
        self._prepared = 0
        path = self._directory / _NEXT
        self._storage.remove(path)  # too small, or left by another process
        self._storage.create(path, size).close()
        self._prepared = size

    # -- leaving a segment ---------------------------------------------------------------------

    def _finish(self, present: _Open) -> None:
        """Leave a full segment: its records are durable, only its unused zeros go.

        Raises MisplacedFileError when it was taken away since its last batch.
        """
        self._refuse_misplaced(present)
        with contextlib.suppress(OSError):  # the zeros harm nobody
            present.file.truncate(self._end)
        self._drop(present)
        self._tell_finished(present.name)

    def _refuse_misplaced(self, present: _Open) -> None:
        if problem := present.file.misplaced(present.capacity):
            self._fail(present, MisplacedFileError(problem))

    def _fail(self, present: _Open, error: OSError) -> None:
        """Leave a segment that failed. Raises MisplacedFileError when it was taken away."""
        problem = str(error) if isinstance(error, MisplacedFileError) else ""
        if problem or (problem := present.file.misplaced(present.capacity)):
            self._lost = Lost(present.file, present.name, present.first, self._end)
            self._open, self.in_reserve, self._tries = None, False, 0
            raise MisplacedFileError(problem) from error
        _log.warning("journal segment failed, trying a new one", error=str(error))
        self.trouble = str(error)
        self._drop(present)
        self._tell_finished(present.name)

    def _tell_finished(self, name: SegmentName) -> None:
        if self._last is not None:
            self._on_finished(Finished(name, self._end, self._last.last, self._last.sha256))

    def _save(self, lost: Lost) -> None:
        """Save what the lost segment held. Raises OSError while that may still succeed."""
        try:
            self._make_ready(self._segment_bytes)  # does the disk work otherwise?
        except OSError as error:
            if error.errno not in FULL:
                raise
        spare = SegmentName(self._epoch, self._number + 1)
        last = self._last.last if self._last is not None else lost.first - 1
        try:
            found = rescue(
                self._storage, self._directory, lost, last=last, spare=spare, reserve=self._reserve
            )
        except OSError as error:
            self._tries += error.errno not in FULL  # there will be room one day
            if self._tries < _TRIES:
                raise
            _log.error("a lost segment could not be saved", error=str(error))
            found = gone(lost, last=last)
        self._lost = None
        self._number = max(self._number, found.name.number)
        self.rescued.append(found)
        if found.last >= found.first:
            self._on_finished(Finished(found.name, found.end, found.last, found.sha256))
        with contextlib.suppress(OSError):
            lost.file.close()

    def _drop(self, present: _Open) -> None:
        self._open, self.in_reserve = None, False
        with contextlib.suppress(OSError):
            present.file.close()
