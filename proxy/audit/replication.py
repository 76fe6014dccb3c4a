"""`audit.ack: replicated`: a record counts when our disk has it and the database, too.

Wraps the writer of this process behind the same port. The record is durable here first and is
shipped from there (`proxy.audit.index.shipping`), so one whose caller was refused because the database
was too slow still arrives. Only callers wait here, not records: memory is bounded by their number
and by the deadline.
"""

from asyncio import Future, TimerHandle, get_running_loop
from collections import deque
from functools import partial
from typing import Final, NamedTuple

from proxy.audit.gate import Gate, Level
from proxy.audit.port import Journal, JournalUnavailableError
from proxy.clock import Clock
from proxy.settings import Journal as JournalSettings

SOURCE: Final = "database"
"""Under which the database reports to the gate."""
_TICK: Final = 0.02
"""Seconds between looks at deadlines while anybody waits."""


class _Held(NamedTuple):
    """A record that is durable here and not known to be committed there."""

    seq: int
    limit: float
    """When its caller is refused, on the watchdog's clock."""
    future: Future[int]


class ReplicatedJournal:
    """Implements `proxy.audit.port.Journal` over the journal of `writer` and what is committed."""

    def __init__(
        self, journal: Journal, writer: str, gate: Gate, settings: JournalSettings, *, clock: Clock
    ) -> None:
        self._trouble = ""
        self._journal = journal
        self._writer = writer
        self._gate = gate
        self._deadline = settings.deadline
        self._most = settings.queue_records
        self._clock = clock
        self._loop = get_running_loop()
        self._held: deque[_Held] = deque()
        self._committed = 0
        self._busy = 0.0
        """Seconds in which this loop could not look, and that count against nobody."""
        self._due = 0.0
        self._watchdog: TimerHandle | None = None

    def append(self, body: bytes, *, urgent: bool = True, reserve: bool = False) -> Future[int]:
        """See Journal; durable means here and in the database."""
        if self._trouble:
            raise JournalUnavailableError(self._trouble)
        if len(self._held) >= self._most:
            raise JournalUnavailableError(
                f"{len(self._held)} records wait for the database, no more are taken"
            )
        future: Future[int] = self._loop.create_future()
        limit = self._clock.monotonic() - self._busy + self._deadline
        here = self._journal.append(body, urgent=urgent, reserve=reserve)
        here.add_done_callback(partial(self._durable_here, future, limit))
        return future

    def post(self, body: bytes) -> None:
        """See Journal. Nobody waits for it, so it is the same with the database."""
        self._journal.post(body)

    @property
    def failure(self) -> str:
        """See Journal."""
        return self._trouble or self._journal.failure

    @property
    def reserve_left(self) -> int:
        """See Journal. No reserve stands in for a database."""
        return 0 if self._trouble else self._journal.reserve_left

    def database(self, trouble: str) -> None:
        """Say why the database takes no records, or nothing: from now on calls go by that.

        Who waits already waits on: what comes back within the deadline was only slow.
        """
        self._trouble = trouble
        self._gate.report(SOURCE, Level.CLOSED if trouble else Level.OK, trouble)

    def committed(self, writer: str, seq: int) -> None:
        """The database has the records of `writer` up to `seq`."""
        if writer != self._writer:
            return
        self._committed = max(self._committed, seq)
        held = self._held
        while held and held[0].seq <= seq:
            _resolve(held.popleft())

    def close(self) -> None:
        """Refuse whoever still waits."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        while self._held:
            _refuse(self._held.popleft().future, "the journal is closed")

    def _durable_here(self, future: Future[int], limit: float, here: Future[int]) -> None:
        if here.cancelled() or future.done():
            return
        if (error := here.exception()) is not None:
            future.set_exception(error)
            future.exception()  # as in `_refuse`
            return
        seq = here.result()
        if seq <= self._committed:
            future.set_result(seq)
            return
        self._held.append(_Held(seq, limit, future))
        if self._watchdog is None:
            self._watch()

    def _watch(self) -> None:
        self._due = self._loop.time() + _TICK
        self._watchdog = self._loop.call_later(_TICK, self._tick)

    def _tick(self) -> None:
        """Refuse those who have waited too long. Sleeps while nobody waits."""
        late = self._loop.time() - self._due
        if late > _TICK:
            self._busy += late  # nothing can be said of the database for this time
        now = self._clock.monotonic() - self._busy
        if self._held and self._held[0].limit <= now:
            slow = f"the database has not confirmed a record for {self._deadline:g} s"
            self.database(self._trouble or slow)
            while self._held and self._held[0].limit <= now:
                _refuse(self._held.popleft().future, self._trouble)
        self._watchdog = None
        if self._held:
            self._watch()


def _resolve(held: _Held) -> None:
    if not held.future.done():
        held.future.set_result(held.seq)


def _refuse(future: Future[int], reason: str) -> None:
    if not future.done():
        future.set_exception(JournalUnavailableError(reason))
        future.exception()  # seen: `failure` says the same to whoever does not await
