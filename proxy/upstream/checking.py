"""Looks at every cluster again and again, and acts on what our account may do there.

With `upstream.excess_permissions: refuse` a cluster is refused from the start until a look has
shown that our account is minimal, and again as soon as one shows that it is not. A look that fails
changes nothing: what was refused stays refused, what was allowed stays allowed.
Between two looks the process that keeps the notes asks twice a minute whether the cluster answers.
"""

import asyncio
import math
from typing import Final

import structlog
from prometheus_client import Gauge

from proxy.clock import Clock
from proxy.errors import KubewitnessError, NotFoundError
from proxy.metrics import Metrics, forget
from proxy.reaching import Upstream
from proxy.state.repository import StateStore
from proxy.state.snapshot import ClusterRecord, Snapshot
from proxy.state.watcher import SnapshotWatcher
from proxy.tasks import cancel, spawn
from proxy.upstream.cluster import Target
from proxy.upstream.directory import ClusterDirectory
from proxy.upstream.permissions import ClusterCheck, answers, check

_RETRY_SECONDS: Final = 30.0
"""Until the next look at a cluster that did not answer."""
_ANSWER_SECONDS: Final = 30.0
"""Between two questions whether a cluster still answers."""
Account = tuple[str, bytes]
"""Which cluster, by its id, and by which account of ours: another one is looked at anew."""
_log = structlog.get_logger(__name__)


class PermissionChecker:
    """The checker of one process. Each needs its own, since refusing is local to a process."""

    def __init__(
        self,
        directory: ClusterDirectory,
        watcher: SnapshotWatcher,
        settings: Upstream,
        *,
        clock: Clock,
        metrics: Metrics,
        store: StateStore | None = None,
    ) -> None:
        """With `store`, results are also written there as the cluster's note, and measured.

        One process does that; the metrics say whether clusters answer.
        """
        self._directory = directory
        self._watcher = watcher
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._store = store
        self._due: dict[Account, float] = {}
        """By account: when (monotonic) to look or to ask next."""
        self._full: dict[Account, float] = {}
        """By account: when (monotonic) to look next at what our account may do."""
        self._shown: dict[Account, set[tuple[Gauge, tuple[str, ...]]]] = {}
        """By account: what the metrics show of it."""
        self._told: dict[Account, str] = {}
        """By account: what was logged last, so that it is logged once."""
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at every cluster now, at new ones when they appear, at all at the interval."""
        self._watcher.listen(self._changed)
        self._task = spawn(self._run(), name="permission checker")

    async def close(self) -> None:
        """Stop looking."""
        await cancel(self._task)

    def _changed(self, old: Snapshot, new: Snapshot) -> None:
        if set(map(_account, new.clusters.values())) != set(map(_account, old.clusters.values())):
            self._poked.set()

    async def _run(self) -> None:
        await self._directory.settled()
        while True:
            self._poked.clear()
            await self.look()
            now = self._clock.monotonic()
            soonest = min(self._due.values(), default=now + self._settings.check_interval)
            try:
                async with asyncio.timeout(max(soonest - now, 0.1)):
                    await self._poked.wait()
            except TimeoutError:
                continue
            await self._directory.settled()

    async def look(self) -> None:
        """Look at every cluster whose time has come, all at once."""
        now = self._clock.monotonic()
        records = [self._directory.record(name) for name in self._directory.names()]
        present = [record for record in records if record is not None]
        accounts = {_account(item): item.name for item in present}
        self._due = {key: self._due.get(key, now) for key in accounts}
        self._full = {key: when for key, when in self._full.items() if key in self._due}
        self._told = {key: text for key, text in self._told.items() if key in self._due}
        self._hide(set(accounts))
        due = [name for key, name in accounts.items() if self._due[key] <= now]
        await asyncio.gather(*(self._look_at(name) for name in due))

    async def _look_at(self, name: str) -> None:
        record, target = self._directory.record(name), self._directory.ready(name)
        if record is None:
            return
        key = _account(record)
        if self._full.get(key, -math.inf) > self._clock.monotonic():
            up = await self._answers(name, key, target)
            self._measure(record, target, up)
            self._again(key, up)
            return
        seen = await self._check(name, key, target)
        self._full[key] = self._clock.monotonic() + self._settings.check_interval
        self._measure(record, target, seen is not None, seen)
        self._again(key, seen is not None)
        if seen is None:
            return
        if self._settings.excess_permissions == "refuse":
            self._directory.refuse(record, seen.note if seen.excess else "")
        self._tell(key, name, seen.note)
        if self._store is not None:
            try:
                await self._store.set_cluster_note(name, seen.note)
            except NotFoundError:
                pass  # removed while we looked
            except KubewitnessError as error:
                _log.warning("note of a cluster cannot be stored", cluster=name, error=str(error))

    async def _check(self, name: str, key: Account, target: Target | None) -> ClusterCheck | None:
        if target is None:
            return None  # the directory has said why
        try:
            return await check(target, clock=self._clock)
        except KubewitnessError as error:
            self._tell(key, name, str(error))
            return None

    async def _answers(self, name: str, key: Account, target: Target | None) -> bool:
        if target is None:
            return False
        try:
            await answers(target)
        except KubewitnessError as error:
            self._tell(key, name, str(error))
            return False
        return True

    def _again(self, key: Account, up: bool) -> None:
        """Say when to look at that cluster next."""
        wait = self._settings.check_interval
        if not up:
            wait = min(wait, _RETRY_SECONDS)
            # Whatever kept it from answering may also have changed what we may do there.
            self._full.pop(key, None)
        elif self._store is not None:
            wait = min(wait, _ANSWER_SECONDS)
        self._due[key] = self._clock.monotonic() + wait

    def _measure(
        self,
        record: ClusterRecord,
        target: Target | None,
        up: bool,
        seen: ClusterCheck | None = None,
    ) -> None:
        if self._store is None:
            return
        gauges = self._metrics
        measured: dict[tuple[Gauge, tuple[str, ...]], float] = {}
        measured[gauges.cluster_up, (record.name,)] = up
        ends = {
            "server": seen.certificate_expires if seen is not None else None,
            "account": target.certificate_ends if target is not None else None,
        }
        for name, end in ends.items():
            if end is not None:
                measured[gauges.cluster_certificate_expiry, (record.name, name)] = end
        for (gauge, labels), value in measured.items():
            gauge.labels(*labels).set(value)
        self._shown.setdefault(_account(record), set()).update(measured)

    def _hide(self, present: set[Account]) -> None:
        """Measure no more what is no cluster any more."""
        for key in [key for key in self._shown if key not in present]:
            for gauge, labels in self._shown.pop(key):
                forget(gauge, *labels)

    def _tell(self, key: Account, name: str, note: str) -> None:
        if note and self._told.get(key) != note:
            _log.warning(
                note,
                cluster=name,
                hint=f"`kubewitness cluster bootstrap {name}` prints a minimal account.",
            )
        self._told[key] = note


def _account(record: ClusterRecord) -> Account:
    return record.id, record.sealed
