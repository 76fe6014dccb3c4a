"""Planted bugs of what replicas share: each is put into the `serve` processes of a replica rig."""

import asyncio
from asyncio import Future
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from proxy.audit.index.shipping import Shipper
from proxy.audit.index.tailing import Step
from proxy.audit.journal import writer
from proxy.audit.journal.recovery import Recovered, first_records
from proxy.audit.replication import ReplicatedJournal
from proxy.runtime.sharing import Sharing
from proxy.state.listening import Listening
from proxy.state.watcher import SnapshotWatcher
from tests.faults.bug import Bug
from tests.faults.report import Report
from tests.faults.swapping import swapped


def _resolved_before_commit() -> AbstractContextManager[None]:
    def append(self: ReplicatedJournal, body: bytes, **how: Any) -> Future[int]:
        return self._journal.append(body, **how)

    def database(self: ReplicatedJournal, trouble: str) -> None:
        """Goes on, whatever the database does."""

    return swapped((ReplicatedJournal, "append", append), (ReplicatedJournal, "database", database))


def _successor_without_recovery() -> AbstractContextManager[None]:
    def none_open(recovered: Recovered, now: float) -> list[bytes]:
        recovered.open_calls.clear()
        return first_records(recovered, now)

    return swapped((writer, "first_records", none_open))


def _state_read_once() -> AbstractContextManager[None]:
    async def never(self: object) -> None:
        del self
        await asyncio.Event().wait()

    return swapped((SnapshotWatcher, "_watch", never), (Listening, "_run", never))


def rows_dropped_after_a_failure() -> AbstractContextManager[None]:
    """What is sent again after a failure lacks its first row, as if that had arrived."""
    sound = Shipper._insert

    async def insert(self: Any, who: str, step: Step) -> None:
        failed, self._dropping = getattr(self, "_dropping", False), True
        await sound(self, who, step._replace(rows=step.rows[1:]) if failed else step)
        self._dropping = False

    return swapped((Shipper, "_insert", insert))


def _last_records_stay_behind() -> AbstractContextManager[None]:
    async def close(self: Sharing) -> None:
        await self.index.close()

    return swapped((Sharing, "close", close))


def _hunting(ack: str = "local", *, threads: int = 2, **turns: int) -> Callable[[Bug], Report]:
    """Only with the `turns` that bring the bug to light; there is little time."""

    def hunt(bug: Bug) -> Report:
        from tests.faults import replicas

        most = {"kills": 0, "stops": 0, "changes": 0} | turns
        size = replicas.Size(**most, threads=threads, kubectls=0, pause=0.0, peace=5.0)
        return replicas.run(size, seed=1, ack=ack, bug=bug.name)

    return hunt


BUGS: Final = (
    Bug(
        "replica-resolved-before-commit",
        "`replicated` acknowledges what only our disk has.",
        _resolved_before_commit,
        _hunting("replicated"),
    ),
    Bug(
        "replica-successor-without-recovery",
        "A successor leaves the calls open that its predecessor died in.",
        _successor_without_recovery,
        _hunting(kills=3, threads=4),
    ),
    Bug(
        "replica-state-read-once",
        "A replica does not look for what others changed.",
        _state_read_once,
        _hunting(changes=1),
    ),
    Bug(
        "replica-rows-dropped-after-a-failure",
        "After a failure the first row of what is sent again is left out.",
        rows_dropped_after_a_failure,
        _hunting(stops=2),
    ),
    Bug(
        "replica-last-records-stay-behind",
        "A replica that stops leaves without shipping its last records.",
        _last_records_stay_behind,
        _hunting(),
    ),
)
