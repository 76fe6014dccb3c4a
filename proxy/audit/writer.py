"""The writer: records from one event loop, made durable in batches by one thread.

Natural batching: what was queued while the last sync ran goes in the next one. There is no timer
on the hot path; one watchdog, awake only while records wait, looks after deadlines.

The loop owns the queue, the sequence and the waiting futures; the thread owns the files
(`proxy.audit.segments`). They exchange batches: at most one is with the thread at any time.

When a batch cannot be made durable, not even in a new segment, everybody waiting is refused and
so is every `append` from then on. The batch itself is kept, and tried again until the disk takes
it: its sequences are used, and a copy of it may stand in the segment that failed.
"""

import binascii
import os
import queue
import threading
from asyncio import AbstractEventLoop, Future, TimerHandle, get_running_loop, timeout, to_thread
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from proxy.audit.event import SystemEvent, body, new_id
from proxy.audit.instance import take_slot
from proxy.audit.journal import GENESIS, SALT_BYTES, Batch, Seal, frame
from proxy.audit.port import JournalUnavailableError, unavailable
from proxy.audit.recovery import Recovered, first_records, recover
from proxy.audit.segments import Segments
from proxy.audit.storage import FileStorage, Storage
from proxy.audit.waiting import Waiting
from proxy.clock import Clock, SystemClock, rfc3339
from proxy.metrics import Metrics
from proxy.settings import Journal as JournalSettings

_log = structlog.get_logger(__name__)

_TICK: Final = 0.02
"""Seconds between looks of the watchdog; a deadline may be overrun by two of them."""
_RETRY: Final = 0.25
"""Seconds between attempts to write the batch that failed."""
_CLOSE_TIMEOUT: Final = 10.0
"""Seconds `close` waits for a disk that does not answer."""


class JournalWriter:
    """One process's journal. Implements `proxy.audit.port.Journal`; made by `open`."""

    def __init__(
        self,
        segments: Segments,
        recovered: Recovered,
        settings: JournalSettings,
        *,
        clock: Clock,
        metrics: Metrics,
        unlock: Callable[[], None],
    ) -> None:
        self._segments = segments
        self._deadline = settings.deadline
        self._waiting = Waiting(records=settings.queue_records, size=settings.queue_bytes)
        self._clock = clock
        self._metrics = metrics
        self._unlock = unlock
        self._loop: AbstractEventLoop = get_running_loop()
        self._next_seq = recovered.next_seq
        self._prev = recovered.prev
        self._urgent = False
        self._inflight: Batch | None = None
        self._failure = ""
        self._failed_at = 0.0
        self._closing = False
        self._drained: Future[None] | None = None
        # The watchdog: (time, records queued until then), oldest first.
        self._marks: deque[tuple[float, int]] = deque()
        self._due = 0.0
        self._watchdog: TimerHandle | None = None
        self._retry: TimerHandle | None = None
        self._scheduled = False
        self._jobs: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._on_durable: list[Callable[[], None]] = []
        self._on_state: list[Callable[[int, str], None]] = []
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()
        metrics.journal_ok.set(1)

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        slot: str,
        settings: JournalSettings,
        *,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        storage: Storage | None = None,
    ) -> "JournalWriter":
        """Lock `<data_dir>/journal/<slot>`, recover what is there, and begin a new epoch.

        Returns when the first batch of the epoch, which closes the calls that a crash left open,
        is durable. Raises JournalUnavailableError when another process has the slot or the disk
        refuses, CorruptJournalError when the journal is damaged.
        """
        clock = clock or SystemClock()
        storage = storage or FileStorage()
        directory = data_dir / "journal" / slot
        try:
            writer, unlock = await to_thread(take_slot, storage, data_dir, directory, slot)
        except OSError as error:
            raise unavailable(f"the journal {directory} cannot be opened", error) from error
        journal: JournalWriter | None = None
        try:
            recovered = await to_thread(recover, storage, directory, writer)
            files = Segments(
                storage,
                directory,
                writer=writer,
                epoch=recovered.epoch,
                segment_bytes=settings.segment_bytes,
                clock=clock,
            )
            journal = cls(
                files, recovered, settings, clock=clock, metrics=metrics or Metrics(), unlock=unlock
            )
            await journal._begin(first_records(recovered, clock.now()))
        except BaseException as error:
            if journal is not None:
                journal._stop()
            unlock()
            if isinstance(error, OSError):
                raise unavailable(f"the journal {directory} cannot be opened", error) from error
            raise
        _log.info("journal open", writer=writer, epoch=recovered.epoch, clean=recovered.clean)
        return journal

    def append(self, body: bytes, *, urgent: bool = True, reserve: bool = False) -> Future[int]:
        """See Journal."""
        if self._failure and not (reserve and self.reserve_left > 0):
            raise JournalUnavailableError(self._failure)
        future: Future[int] = self._loop.create_future()
        self._queue(body, future, urgent)
        return future

    def post(self, body: bytes) -> None:
        """See Journal.

        While the disk fails, posts are still taken as far as the queue goes: the outcome of a
        call that was cut for want of a record is worth keeping for when the disk is back.
        """
        self._queue(body, None, urgent=True)

    @property
    def failure(self) -> str:
        """See Journal."""
        return self._failure

    @property
    def reserve_left(self) -> int:
        """See Journal."""
        return 0

    def on_state(self, callback: Callable[[int, str], None]) -> None:
        """Call `callback` on the loop with (level, cause) when the state changes.

        0: records are made durable. 1: they are, but something needs care. 2: calls are refused.
        """
        self._on_state.append(callback)

    def on_durable(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the loop after each batch that became durable; it must be quick."""
        self._on_durable.append(callback)

    async def close(self) -> None:
        """Write what is queued, seal and cut the last segment, and unlock.

        Does not raise when the disk refuses: then the next start recovers. Idempotent.
        """
        if self._closing:
            return
        now = self._clock.now()
        event = SystemEvent(
            event_id=new_id(now), stage_timestamp=rfc3339(now), action="journal.close"
        )
        if not self._failure:
            self.post(body(event))
        self._closing = True
        self._failure = self._failure or "the journal is closed"
        drained = self._drained = self._loop.create_future()
        self._urgent = bool(self._waiting.bodies)
        self._flush()
        try:
            async with timeout(_CLOSE_TIMEOUT):
                if not self._idle:
                    await drained
                self._stop()
                await to_thread(self._thread.join)
                await to_thread(self._segments.close, self._seal())
        except TimeoutError:
            # The thread hangs in a system call: the file and its lock stay with it.
            _log.error("journal not closed: the disk does not answer")
            self._stop()
            return
        except (OSError, JournalUnavailableError) as error:
            _log.error("journal not closed in good order", error=str(error))
            self._segments.abandon()
        self._stop()
        self._unlock()

    @property
    def _idle(self) -> bool:
        """Whether everything that was queued is durable."""
        return self._waiting.settled == self._waiting.queued

    def _seal(self) -> Seal:
        return Seal(self._next_seq - 1, self._prev, rfc3339(self._clock.now()))

    # -- queueing ------------------------------------------------------------------------------

    def _queue(self, body: bytes, future: Future[int] | None, urgent: bool) -> None:
        if self._closing:
            raise JournalUnavailableError("the journal is closed")
        self._waiting.put(body, future)
        if not urgent:
            if self._watchdog is None:
                self._watch(self._clock.monotonic())
            return
        self._urgent = True
        if not self._scheduled and self._inflight is None:
            # At the end of this turn of the loop, so that what else it queues comes along.
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Hand the next batch to the thread, unless it has one or nobody waits for it."""
        self._scheduled = False
        if self._inflight is not None or not self._urgent:
            return
        bodies = self._waiting.take()
        self._urgent = bool(self._waiting.bodies)
        salts = binascii.hexlify(os.urandom(SALT_BYTES * len(bodies)))
        batch = frame(bodies, salts, self._next_seq, self._prev)
        self._next_seq = batch.last + 1
        self._prev = batch.sha256
        self._inflight = batch
        self._jobs.put(batch)
        if self._watchdog is None:
            self._watch(self._clock.monotonic())

    # -- the thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        """The thread: make each batch durable, say so."""
        while (batch := self._jobs.get()) is not None:
            started = self._clock.monotonic()
            error: Exception | None = None
            try:
                self._segments.commit(batch)
            except Exception as caught:  # noqa: BLE001  # whatever it is, nothing was made durable
                error = caught
            seconds = self._clock.monotonic() - started
            try:
                self._loop.call_soon_threadsafe(self._done, batch, error, seconds)
            except RuntimeError:
                return  # the loop is gone, and with it everyone who could wait

    def _done(self, batch: Batch, error: Exception | None, seconds: float) -> None:
        """Back on the loop: release the waiting calls, or refuse them."""
        if error is not None:
            self._failed(error)
            return
        self._inflight = None
        released = self._waiting.release(batch.first)
        if self._failed_at:
            self._heal()
        self._flush()
        self._observe(batch, released, seconds)
        for callback in self._on_durable:
            callback()
        if self._drained is not None and not self._drained.done() and self._idle:
            self._drained.set_result(None)

    def _observe(self, batch: Batch, records: int, seconds: float) -> None:
        metrics = self._metrics
        metrics.journal_batch_records.observe(records)
        metrics.journal_sync_seconds.observe(seconds)
        metrics.journal_bytes.inc(len(batch.data))
        metrics.journal_queue_records.set(len(self._waiting.bodies))

    # -- failing and healing -------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        """The disk took the batch neither here nor in a new segment: refuse, and keep trying."""
        reason = str(unavailable("records cannot be made durable", error))
        self._close_gate(reason)
        self._waiting.refuse(self._waiting.queued, self._failure)
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_exception(unavailable("the last records were lost", error))
            return
        self._retry = self._loop.call_later(_RETRY, self._try_again)

    def _try_again(self) -> None:
        if self._inflight is not None and self._thread.is_alive():
            self._jobs.put(self._inflight)

    def _close_gate(self, reason: str) -> None:
        if not self._failed_at:
            self._failed_at = self._clock.now()
            self._metrics.journal_ok.set(0)
            _log.error("calls are refused: the journal cannot be written", reason=reason)
        if not self._closing:
            self._failure = reason

    def _heal(self) -> None:
        """A batch became durable after a failure: open the gate, and leave a record of it."""
        now = self._clock.now()
        seconds = now - self._failed_at
        cause, self._failed_at = self._failure, 0.0
        self._metrics.journal_ok.set(1)
        _log.warning("the journal can be written again", seconds=round(seconds, 3))
        if self._closing:
            return
        self._failure = ""
        event = SystemEvent(
            event_id=new_id(now),
            stage_timestamp=rfc3339(now),
            action="journal.heal",
            detail={"cause": cause, "seconds": int(seconds)},
        )
        self._waiting.force(body(event))
        self._urgent = True

    def _tick(self) -> None:
        """The watchdog: refuse what has waited too long. Sleeps while nothing waits."""
        if self._idle:
            self._marks.clear()
            self._watchdog = None
            return
        now = self._clock.monotonic()
        marks = self._marks
        if marks and (late := self._loop.time() - self._due) > _TICK:
            # The loop was busy, so nothing can be said of the disk: this time does not count.
            self._marks = marks = deque((when + late, queued) for when, queued in marks)
        overdue = 0
        while marks and (now - marks[0][0] >= self._deadline):
            overdue = marks.popleft()[1]
        if overdue > self._waiting.settled:
            slow = f"the disk has not confirmed a record for {self._deadline:g} s"
            self._close_gate(self._failure or slow)
            self._waiting.refuse(overdue, self._failure)
        if self._waiting.bodies and self._inflight is None:
            # Records that were not urgent, and that no other took along.
            self._urgent = True
            self._flush()
        self._watch(now)

    def _watch(self, now: float) -> None:
        """Note what is queued now, and look again in a while."""
        queued = self._waiting.queued
        if not self._marks or self._marks[-1][1] != queued:
            self._marks.append((now, queued))
        self._due = self._loop.time() + _TICK
        self._watchdog = self._loop.call_later(_TICK, self._tick)

    # -- start and end -------------------------------------------------------------------------

    async def _begin(self, records: list[bytes]) -> None:
        """Write the first batch of the epoch, whole: it settles everything before it."""
        salts = binascii.hexlify(os.urandom(SALT_BYTES * len(records)))
        batch = frame(records, salts, self._next_seq, self._prev or GENESIS)
        await to_thread(self._segments.commit, batch)
        self._next_seq, self._prev = batch.last + 1, batch.sha256

    def _stop(self) -> None:
        """End the thread and the timers; the files stay as they are."""
        self._jobs.put(None)
        for timer in (self._watchdog, self._retry):
            if timer is not None:
                timer.cancel()
