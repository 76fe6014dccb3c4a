"""Writing segments: one batch at a time, durable or an error, on whatever `Storage` is given.

Blocking and without threads or clocks of its own: the writer's thread calls it, and so may a
test with a simulated disk. Rules (each one is somebody's lost log):

1. A batch counts as durable only after a sync of the file that stands at its path.
2. After a failed write or sync the file is never synced again; the batch goes to a new segment.
3. When that fails too, the error is the caller's, and the same batch may be tried again.
4. A segment that never held a durable batch is removed again; any other is left alone.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from proxy.audit.journal import VERSION, Batch, Header, Seal, SegmentName, line
from proxy.audit.storage import SegmentFile, Storage
from proxy.clock import Clock, rfc3339

_log = structlog.get_logger(__name__)


class MisplacedFileError(OSError):
    """The segment was deleted, replaced or cut while it was being written."""


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
        on_trouble: Callable[[OSError], None] = lambda _: None,
    ) -> None:
        self._storage = storage
        self._directory = directory
        self._writer = writer
        self._epoch = epoch
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._on_trouble = on_trouble
        self._number = 0
        self._file: SegmentFile | None = None
        self._capacity = 0
        self._end = 0
        """Where the next batch goes; all before it is durable."""

    def commit(self, batch: Batch) -> None:
        """Make `batch` durable, in a new segment if need be.

        Raises OSError when neither the present segment nor a new one could take it.
        """
        if self._file is not None and self._end + len(batch.data) >= self._capacity:
            self._finish(self._file)
        if self._file is not None:
            try:
                self._write(self._file, batch)
            except OSError as error:
                _log.warning("journal segment failed, trying a new one", error=str(error))
                self._on_trouble(error)
                self._drop(self._file)
            else:
                return
        self._begin(batch)

    def close(self, seal: Seal) -> None:
        """Write the seal, cut the unused tail, and give the file back.

        Raises OSError when the seal could not be made durable; the file is given back even then.
        """
        file, self._file = self._file, None
        if file is None:
            return
        data = line(seal)
        try:
            file.write(data, self._end)
            file.truncate(self._end + len(data))
            file.sync()
        finally:
            file.close()

    def abandon(self) -> None:
        """Give the file back as it is, as a crash would."""
        if self._file is not None:
            self._drop(self._file)

    def _write(self, file: SegmentFile, batch: Batch) -> None:
        file.write(batch.data, self._end)
        file.sync()
        self._end += len(batch.data)
        if problem := file.misplaced(self._capacity):
            raise MisplacedFileError(problem)

    def _begin(self, batch: Batch) -> None:
        """Create the next segment with `batch` in it, or leave nothing behind."""
        self._number += 1
        path = self._directory / str(SegmentName(self._epoch, self._number))
        header = line(
            Header(
                version=VERSION,
                writer=self._writer,
                epoch=self._epoch,
                segment=self._number,
                first_seq=batch.first,
                prev=batch.prev,
                opened_at=rfc3339(self._clock.now()),
            )
        )
        # The last byte stays unused: a file that is shorter than this was cut by somebody.
        capacity = max(self._segment_bytes, len(header) + len(batch.data) + 1)
        file = self._storage.create(path, capacity)
        self._capacity, self._end = capacity, 0
        try:
            file.write(header, 0)
            self._end = len(header)
            self._write(file, batch)
            self._storage.sync_directory(self._directory)
        except OSError as error:
            self._drop(file)
            if not isinstance(error, MisplacedFileError):  # what stands there is not ours to remove
                with contextlib.suppress(OSError):
                    self._storage.remove(path)
            raise
        self._file = file

    def _finish(self, file: SegmentFile) -> None:
        """Leave a full segment: its records are durable, only its unused zeros go."""
        with contextlib.suppress(OSError):  # the zeros harm nobody
            file.truncate(self._end)
        self._drop(file)

    def _drop(self, file: SegmentFile) -> None:
        self._file = None
        with contextlib.suppress(OSError):
            file.close()
