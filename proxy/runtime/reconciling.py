"""RoleBindings kept in step with the grants, at clusters where somebody asked for that.

A second account does it, which may manage RoleBindings and nothing else. Every change of the
cluster is on record before it is made; what differs without our doing is reported as drift, and
mended where that is wanted.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from proxy.audit.event import SystemEvent, body, new_id
from proxy.audit.port import Journal
from proxy.authz.bindings import Drift, look
from proxy.clock import Clock, rfc3339
from proxy.errors import KubewitnessError, NotFoundError, UnavailableError
from proxy.metrics import Metrics, forget
from proxy.reaching import Upstream
from proxy.state.reconcilers import ReconcilerRecord
from proxy.state.repository import StateStore
from proxy.state.snapshot import ClusterRecord
from proxy.state.watcher import SnapshotWatcher
from proxy.upstream.connection import UpstreamError
from proxy.upstream.handle import TargetHandle
from proxy.upstream.pool import Pool
from proxy.upstream.registered import load_second
from proxy.upstream.rolebindings import RoleBindings

INTERVAL: Final = 60.0
"""Seconds between two looks when no grant changed."""
RETRY: Final = 5.0
"""Seconds after a look that failed; twice as long each further time…"""
LONGEST: Final = 600.0
"""…up to this."""
SHOWN: Final = 20
"""Differences that one record names; the rest are counted."""
ACTION: Final = "cluster.reconcile"
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Cluster:
    """One cluster that is looked after."""

    record: ReconcilerRecord
    cluster: ClusterRecord
    """The cluster itself: where it is, and how it proves that."""
    handle: TargetHandle
    told: tuple[str, ...] = ()
    """The drift, or the failure, that was reported last, so that it is reported once."""
    failures: int = 0
    """Looks that failed, one after the other."""
    due: float = 0.0
    """Monotonic time before which a failed one is not tried again."""


class Reconciler:
    """Looks after the RoleBindings of every cluster that asks for it.

    Each replica may have one: what another one did already is found done.
    """

    def __init__(
        self,
        store: StateStore,
        watcher: SnapshotWatcher,
        pool: Pool,
        journal: Journal,
        *,
        upstream: Upstream,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._upstream = upstream
        self._watcher = watcher
        self._pool = pool
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._clusters: dict[str, _Cluster] = {}
        self._changed = asyncio.Event()
        watcher.listen(lambda _old, _new: self._changed.set())

    async def run(self) -> None:
        """Look after them until cancelled."""
        try:
            while True:
                self._changed.clear()
                wait = await self._round()
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            for name in list(self._clusters):
                await self._leave(name)

    async def _round(self) -> float:
        """One look at every cluster; seconds until the next one."""
        try:
            await self._follow()
            waits = [await self._wait_after(cluster) for cluster in self._clusters.values()]
        except KubewitnessError as error:
            # The state, or the record, cannot be had; both say so loudly themselves.
            _log.warning("RoleBindings are not looked after now", error=error.message)
            return RETRY
        except Exception:  # noqa: BLE001  # a defect here must not end the proxy
            _log.exception("RoleBindings cannot be looked after")
            return RETRY
        return min(waits, default=INTERVAL)

    async def _wait_after(self, cluster: _Cluster) -> float:
        """Look at a cluster if it is time; seconds until its next look."""
        now = self._clock.monotonic()
        if cluster.due > now:
            return cluster.due - now
        if await self._look(cluster):
            cluster.failures, cluster.due = 0, 0.0
            return INTERVAL
        # Each attempt to mend is on record: a cluster that refuses must not fill it.
        cluster.failures += 1
        wait = min(RETRY * 2.0 ** (cluster.failures - 1), LONGEST)
        cluster.due = now + wait
        return wait

    async def _follow(self) -> None:
        """Begin with clusters that ask for it now, and leave those that do not any more."""
        records = {record.cluster: record for record in await self._store.reconcilers.list()}
        known = {item.name: item for item in await self._store.clusters()}
        for name, cluster in list(self._clusters.items()):
            if records.get(name) != cluster.record or _moved(known.get(name), cluster.cluster):
                await self._leave(name)
        for name, record in records.items():
            if name in self._clusters or name not in known:
                continue
            try:
                handle = await self._open(record, known[name])
            except KubewitnessError as error:
                _log.warning(
                    "the account that looks after RoleBindings cannot be used",
                    cluster=name,
                    error=error.message,
                )
                continue
            self._clusters[name] = _Cluster(record, known[name], handle)

    async def _open(self, record: ReconcilerRecord, cluster: ClusterRecord) -> TargetHandle:
        return await load_second(
            record.cluster,
            self._store.reconcilers.kubeconfig(record),
            None if cluster.in_cluster else self._store.kubeconfig(cluster),
            upstream=self._upstream,
            clock=self._clock,
        )

    async def _leave(self, name: str) -> None:
        cluster = self._clusters.pop(name)
        forget(self._metrics.rolebinding_drift, name)
        await cluster.handle.close()

    async def _look(self, cluster: _Cluster) -> bool:
        """Compare, report, and mend where that is wanted; False when it has to be tried again."""
        name = cluster.record.cluster
        bindings = RoleBindings(self._pool, cluster.handle.target)
        try:
            drift = await look(bindings, name, lambda: self._watcher.current.access, self._clock)
            self._metrics.rolebinding_drift.labels(name).set(len(drift))
            if not drift:
                cluster.told = ()
                return True
            if not cluster.record.enforce:
                await self._report(cluster, drift)
                return True
            return await self._mend(cluster, bindings, drift)
        except (UpstreamError, UnavailableError) as error:
            self._tell(cluster, str(error))
            return False

    async def _report(self, cluster: _Cluster, drift: Drift) -> None:
        """Put what differs on record, once."""
        sentences = tuple(drift.sentences())
        if sentences == cluster.told:
            return
        await self._record(cluster, "drift", drift)
        cluster.told = sentences
        _log.warning(
            "RoleBindings differ from the grants",
            cluster=cluster.record.cluster,
            differences=len(drift),
        )

    async def _mend(self, cluster: _Cluster, bindings: RoleBindings, drift: Drift) -> bool:
        """Make the cluster as the grants say: on record before, and what came of it after."""
        event_id = await self._record(cluster, "requested", drift)
        failures = []
        for step, what in _steps(bindings, drift):
            try:
                await step()
            except (UpstreamError, UnavailableError, NotFoundError) as error:
                failures.append(f"{what}: {error}")
        outcome = f"failed: {failures[0]}" if failures else "ok"
        await self._record(cluster, outcome, drift, event_id)
        if failures:
            self._tell(cluster, failures[0])
        else:
            cluster.told = ()
            self._metrics.rolebinding_drift.labels(cluster.record.cluster).set(0)
        return not failures

    def _tell(self, cluster: _Cluster, why: str) -> None:
        if cluster.told != (why,):
            _log.warning(
                "RoleBindings are not as they should be", cluster=cluster.record.cluster, error=why
            )
        cluster.told = (why,)

    async def _record(
        self, cluster: _Cluster, outcome: str, drift: Drift, event_id: str = ""
    ) -> str:
        """A system event, durable on return; its id. Raises UnavailableError."""
        now = self._clock.now()
        sentences = list(drift.sentences())
        event = SystemEvent(
            event_id=event_id or new_id(now),
            stage_timestamp=rfc3339(now),
            action=ACTION,
            target=cluster.record.cluster,
            outcome=outcome,
            detail={
                "differences": len(sentences),
                "rolebindings": sentences[:SHOWN],
                "enforced": cluster.record.enforce,
            },
        )
        await self._journal.append(body(event))
        return event.event_id


def _moved(now: ClusterRecord | None, before: ClusterRecord) -> bool:
    """Whether a cluster is reached in another way than before, or is gone."""
    return now is None or (now.id, now.sealed) != (before.id, before.sealed)


def _steps(
    bindings: RoleBindings, drift: Drift
) -> Iterator[tuple[Callable[[], Awaitable[None]], str]]:
    """What to do, in order: what gives too much goes first."""
    for namespace, name in (*drift.extra, *((item.namespace, item.name) for item in drift.altered)):
        yield partial(bindings.delete, namespace, name), f"delete {namespace}/{name}"
    for item in (*drift.altered, *drift.missing):
        yield (
            partial(bindings.create, item.manifest()),
            f"create {item.namespace}/{item.name}",
        )
