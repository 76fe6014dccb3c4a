"""The writer: records from one event loop, made durable in batches by one thread.

Natural batching: what was queued while the last sync ran goes in the next one. There is no timer
on the hot path; one watchdog, awake only while records wait, looks after deadlines.

The loop owns the queue, the sequence and the waiting futures; the thread owns the files
(`proxy.audit.journal.segments`). They exchange batches: at most one is with the thread at any time.

When a batch cannot be made durable, not even in a new segment, or its segment was taken away,
everybody waiting is refused and so is every `append` from then on. The batch itself is kept, and
tried again until the disk takes it: its sequences are used, and a copy of it may stand in the
segment that failed. When only space is missing, it goes to the reserve, and with it whatever is
appended with `reserve`; everybody else is refused.

Calls are let in again only when a probe, a record of what happened, is durable in an ordinary
segment. Until then every way back is tried again each quarter of a second.
"""

import binascii
import os
from asyncio import AbstractEventLoop, Future, TimerHandle, get_running_loop, timeout, to_thread
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from proxy.audit.event import SystemEvent, body, new_id
from proxy.audit.journal.condition import Condition
from proxy.audit.journal.full_disk import FullDisk
from proxy.audit.journal.observing import BatchObserver
from proxy.audit.journal.opening import Files, open_files
from proxy.audit.journal.records import GENESIS, SALT_BYTES, Batch, Seal, frame
from proxy.audit.journal.recovery import Recovered, first_records
from proxy.audit.journal.segments import MisplacedFileError
from proxy.audit.journal.storage import FileStorage, Storage
from proxy.audit.journal.waiting import Waiting
from proxy.audit.journal.watchdog import Watchdog
from proxy.audit.journal.worker import Job, Worker
from proxy.audit.port import JournalUnavailableError, unavailable
from proxy.clock import Clock, SystemClock, rfc3339
from proxy.metrics import Metrics
from proxy.settings import Journal as JournalSettings

_log = structlog.get_logger(__name__)

_RETRY: Final = 0.25
"""Seconds between attempts to write the batch that failed."""
_CLOSE_TIMEOUT: Final = 10.0
"""Seconds `close` waits for a disk that does not answer."""


class JournalWriter:
    """One process's journal. Implements `proxy.audit.port.Journal`; made by `open`."""

    def __init__(
        self,
        files: Files,
        recovered: Recovered,
        settings: JournalSettings,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._files = files
        self._segments = files.segments
        self._unlock = files.unlock
        self._waiting = Waiting(records=settings.queue_records, size=settings.queue_bytes)
        self._condition = Condition(clock, metrics)
        self._clock = clock
        self._observer = BatchObserver(metrics)
        self._loop: AbstractEventLoop = get_running_loop()
        self._watchdog = Watchdog(
            self._loop,
            clock,
            self._waiting,
            settings.deadline,
            overdue=self._overdue,
            look=self._look,
        )
        self._deadline = settings.deadline
        self._next_seq = recovered.next_seq
        self._prev = recovered.prev
        self._durable = recovered.next_seq - 1
        self._urgent = False
        self._inflight: Batch | None = None
        self._failure = ""
        self._probe = 0
        """Number of the probe among the records ever queued; 0 while none is under way."""
        self._tried_at_once = False
        self._closing = False
        self._owes = False
        """A record was refused that closes a call: a seal would say that nothing is open."""
        self._drained: Future[None] | None = None
        self._retry: TimerHandle | None = None
        self._scheduled = False
        self._on_durable: list[Callable[[], None]] = []
        self._worker = Worker(self._loop, clock)
        self._full = FullDisk(
            files,
            self._worker,
            self._waiting,
            self._condition,
            metrics,
            self._loop,
            refuse=self._refuse,
            probe=self._send_probe,
        )

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
        is durable: in the reserve if the disk is full, and then calls are refused from the start.
        Raises JournalUnavailableError when another process has the slot or the disk refuses,
        CorruptJournalError when the journal is damaged.
        """
        clock = clock or SystemClock()
        storage = storage or FileStorage()
        journal: JournalWriter | None = None
        try:
            files, recovered = await to_thread(open_files, storage, data_dir, slot, settings, clock)
            try:
                journal = cls(files, recovered, settings, clock=clock, metrics=metrics or Metrics())
                await journal._begin(first_records(recovered, clock.now()))
            except BaseException:
                if journal is not None:
                    journal._stop()
                files.unlock()
                raise
        except OSError as error:
            what = f"the journal {data_dir / 'journal' / slot} cannot be opened"
            raise unavailable(what, error) from error
        _log.info("journal open", writer=files.writer, epoch=recovered.epoch, clean=recovered.clean)
        return journal

    def append(self, body: bytes, *, urgent: bool = True, reserve: bool = False) -> Future[int]:
        """See Journal."""
        if self._failure and not (reserve and self._full.takes(len(body))):
            raise JournalUnavailableError(self._failure)
        future: Future[int] = self._loop.create_future()
        self._queue(body, future, urgent)
        return future

    def post(self, body: bytes) -> None:
        """See Journal.

        While the disk fails, posts are still taken as far as the queue goes: the outcome of a
        call that was cut for want of a record is worth keeping for when the disk is back.
        """
        self._owes, owed = True, self._owes
        if self._full.size and not self._full.takes_posts():
            raise JournalUnavailableError(self._failure)
        self._queue(body, None, urgent=True)
        self._owes = owed

    @property
    def failure(self) -> str:
        """See Journal."""
        return self._failure

    @property
    def reserve_left(self) -> int:
        """See Journal."""
        return self._full.left

    @property
    def durable(self) -> int:
        """The last sequence that is durable; moves before anything later is written."""
        return self._durable

    def on_state(self, callback: Callable[[int, str], None]) -> None:
        """Call `callback` on the loop with (level, cause) at each change, and now unless it is 0.

        0: records are made durable. 1: they are, but something failed and was survived, or there
        is no reserve. 2: calls are refused. It ends with a `journal.heal` in the journal.
        """
        self._condition.listen(callback)

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
            self._waiting.force(body(event))  # a full queue must not keep us from closing
        self._closing = True
        self._failure = self._failure or "the journal is closed"
        drained = self._drained = self._loop.create_future()
        self._urgent = bool(self._waiting.bodies)
        self._flush()
        try:
            async with timeout(_CLOSE_TIMEOUT):
                await self._finish(drained)
        except TimeoutError:
            # The thread hangs in a system call: the file and its lock stay with it.
            _log.error("journal not closed: the disk does not answer")
            self._stop()
            return
        self._stop()
        self._unlock()

    async def _finish(self, drained: Future[None]) -> None:
        """Seal the journal once all is written; leave it to the next start if that fails."""
        try:
            if not self._waiting.idle:
                await drained
            self._refuse_seal()
            self._stop()
            await to_thread(self._worker.join)
            await to_thread(self._files.bookmarks.join)
            await to_thread(self._segments.close, self._seal())
        except (OSError, JournalUnavailableError) as error:
            _log.error("journal not closed in good order", error=str(error))
            self._stop()
            await to_thread(self._worker.join)
            await to_thread(self._segments.abandon)

    def _refuse_seal(self) -> None:
        if self._owes:
            raise JournalUnavailableError("it lacks the outcome of some calls; a start adds them")

    def _seal(self) -> Seal:
        return Seal(self._next_seq - 1, self._prev, rfc3339(self._clock.now()))

    # -- queueing ------------------------------------------------------------------------------

    def _queue(self, body: bytes, future: Future[int] | None, urgent: bool) -> None:
        if self._closing:
            raise JournalUnavailableError("the journal is closed")
        self._waiting.put(body, future)
        if not urgent:
            self._watchdog.wake()
            return
        self._urgent = True
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Flush at the end of this turn of the loop, so that what else it queues comes along.

        After a batch as well: a sync costs the kernel as much as half a call, and the fuller the
        batches are, the fewer there are.
        """
        if self._urgent and not self._scheduled and self._inflight is None:
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
        self._commit(batch)
        self._watchdog.wake()

    def _commit(self, batch: Batch) -> None:
        """Have the thread make `batch` durable."""
        self._worker.put(Job(partial(self._segments.commit, batch), partial(self._done, batch)))

    def _done(self, batch: Batch, error: Exception | None, seconds: float) -> None:
        """Back on the loop: release the waiting calls, or refuse them."""
        if error is not None:
            self._failed(error)
            return
        self._inflight = None
        self._durable = batch.last
        released = self._waiting.release(batch.first)
        self._stand()
        self._flush_soon()
        self._observer.durable(released, len(batch.data), seconds)
        for callback in self._on_durable:
            callback()
        if self._drained is not None and not self._drained.done() and self._waiting.idle:
            self._drained.set_result(None)

    # -- failing and healing -------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        """The disk took the batch nowhere, or took the segment away: refuse, and keep trying."""
        self._full.leave()
        self._probe = 0
        self._refuse(str(unavailable("records cannot be made durable", error)))
        self._waiting.refuse(self._waiting.queued, self._failure)
        # A segment taken away says nothing of the disk: another one may do at once.
        at_once = isinstance(error, MisplacedFileError) and not self._tried_at_once
        self._tried_at_once = at_once
        if self._drained is not None and not at_once:
            if not self._drained.done():
                self._drained.set_exception(unavailable("the last records were lost", error))
            return
        self._retry = self._loop.call_later(0 if at_once else _RETRY, self._try_again)

    def _try_again(self) -> None:
        if self._inflight is not None:
            self._commit(self._inflight)

    def _refuse(self, reason: str) -> None:
        """Refuse calls from now on."""
        self._condition.close(reason)
        if not self._closing:
            self._failure = reason

    def _stand(self) -> None:
        """A batch became durable: where it stands decides who is let in."""
        segments, condition = self._segments, self._condition
        self._tried_at_once = False
        if segments.in_reserve:
            if not self._full.size:
                self._full.enter()
            return
        if segments.trouble:
            condition.trouble(segments.trouble)
            segments.trouble = ""
        if not condition.ailing or self._closing:
            return
        if not self._probe:
            self._send_probe()
        elif self._waiting.settled >= self._probe:
            self._probe = 0
            self._failure = ""
            condition.heal()
            self._full.leave()
            self._full.keep()

    def _send_probe(self) -> None:
        rescued, self._segments.rescued = self._segments.rescued, []
        self._waiting.force(self._condition.probe(rescued))
        self._probe = self._waiting.queued
        self._urgent = True
        if self._inflight is None:
            self._flush()

    def _overdue(self, upto: int) -> None:
        """The disk hangs."""
        self._full.leave()
        self._probe = 0
        self._refuse(
            self._failure or f"the disk has not confirmed a record for {self._deadline:g} s"
        )
        self._waiting.refuse(upto, self._failure)

    def _look(self) -> None:
        """Send records that were not urgent, and that no other took along; tell the metrics."""
        self._observer.flush(len(self._waiting.bodies))
        if self._waiting.bodies and self._inflight is None:
            self._urgent = True
            self._flush()

    # -- start and end -------------------------------------------------------------------------

    async def _begin(self, records: list[bytes]) -> None:
        """Write the first batch of the epoch, whole: it settles everything before it."""
        salts = binascii.hexlify(os.urandom(SALT_BYTES * len(records)))
        batch = frame(records, salts, self._next_seq, self._prev or GENESIS)
        await to_thread(self._segments.commit, batch)
        self._next_seq, self._prev, self._durable = batch.last + 1, batch.sha256, batch.last
        self._files.bookmarks.start()
        self._stand()
        if not self._full.size:
            self._full.keep()

    def _stop(self) -> None:
        """End the threads and the timers; the files stay as they are."""
        self._observer.flush(len(self._waiting.bodies))
        self._worker.stop()
        self._files.bookmarks.stop()
        self._watchdog.stop()
        self._full.stop()
        if self._retry is not None:
            self._retry.cancel()
