"""`kubewitness serve`: every part of a proxy, started in order, watched, and drained.

1. Lock the data directory, bind every address: what cannot work fails before anything runs.
2. Recover the journals of slots that are not used this time; open the core and the index.
3. Control plane and health.
4. The data plane: in this process, or in workers that share its port.
5. Ready. From here on the end of any part is the end of the process.
6. Asked to stop: not ready any more, drain, then close in the opposite order.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from proxy import __version__
from proxy.audit.acts import Actor, Acts, into
from proxy.audit.index.indexer import Indexer
from proxy.audit.index.listeners import Looks
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Index
from proxy.audit.strangers import Strangers
from proxy.clock import Clock, SystemClock
from proxy.control.app import build
from proxy.control.entry.services import Services
from proxy.control.health import Check, health_app
from proxy.data_dir import DataDir
from proxy.gateway.accepting import FailedConnections
from proxy.gateway.listener import DataPlane
from proxy.metrics import Metrics
from proxy.runtime import multiprocess
from proxy.runtime.admin import ensure_admin, keep_admin
from proxy.runtime.authority_following import AuthorityFollower
from proxy.runtime.core import MAIN_SLOT, Core, open_core, worker_slot
from proxy.runtime.essential import Essentials
from proxy.runtime.fleet import Fleet
from proxy.runtime.last_start import record_settings
from proxy.runtime.local_acts import person
from proxy.runtime.local_cluster import register_local
from proxy.runtime.monitoring import checks, shared_registry
from proxy.runtime.noted import record_noted
from proxy.runtime.notify import notify, notify_waiting
from proxy.runtime.patience import Patience, StoppedError
from proxy.runtime.process import Stop, prepare
from proxy.runtime.reconciling import Reconciler
from proxy.runtime.sharing import SharedLooks
from proxy.runtime.slots import recover_unused
from proxy.runtime.web import WebListener, address_of, bind
from proxy.runtime.worker import drain
from proxy.settings import Settings, split_address
from proxy.state.snapshot import Credential
from proxy.upstream.permissions import ClusterExaminer
from proxy.upstream.pool import Pool

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Started:
    """What came of a start, for the people who wait for it."""

    data_plane: str
    control: str
    metrics: str
    data_dir: Path
    index: str
    """Where the index is, without anything secret."""
    workers: int
    clusters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Looking:
    """What a look at the log goes through."""

    index: Index
    indexer: Indexer
    """Keeps the index level with the journals of this process."""
    looks: Looks


async def serve(
    settings: Settings,
    on_ready: Callable[[Started], None],
    *,
    clock: Clock | None = None,
    stop: Stop | None = None,
) -> None:
    """Run a proxy until `stop` is asked (by a signal, unless one is handed in).

    Raises KubewitnessError when a part cannot start or ends by itself.
    """
    data = DataDir(settings.data_dir)
    data.require()
    if stop is None:
        stop = Stop()
        stop.on_signals()
    prepare()
    with data.exclusively():
        async with AsyncExitStack() as stack:
            with suppress(StoppedError):  # asked to end before it had begun
                await Server(settings, data, clock or SystemClock(), stop, stack).run(on_ready)


class Server:
    """One run of `serve`."""

    def __init__(
        self, settings: Settings, data: DataDir, clock: Clock, stop: Stop, stack: AsyncExitStack
    ) -> None:
        self._data = data
        self._clock = clock
        self._stop = stop
        self._stack = stack
        self._patience = Patience(stop, clock, notify_waiting)
        self._ready: Sequence[Check] = (
            Check("shutdown", lambda: "stopping" if stop.asked.is_set() else ""),
            Check("start", lambda: self._patience.cause or "starting"),
        )
        self._shared = settings.workers > 1
        self._shared_metrics = data.run / "metrics"
        if self._shared:
            self._shared_metrics = multiprocess.place(data.run)
            # Only now: before we held the lock they could be those of a proxy that runs.
            multiprocess.clear(self._shared_metrics)
            stack.callback(multiprocess.discard, self._shared_metrics)
        self._metrics = Metrics()
        self._metrics.build.info({"version": __version__})
        self._essentials = Essentials()
        self._plane: DataPlane | None = None
        self._gateway_socket = self._bound(settings.listen, "listen", shared=self._shared)
        self._control_socket = self._bound(settings.control, "control")
        self._metrics_socket = self._bound(settings.metrics, "metrics")
        self._given = settings
        # From here on with the ports that were really taken, also where 0 was asked for.
        self._settings = settings.model_copy(
            update={
                "listen": address_of(self._gateway_socket),
                "control": address_of(self._control_socket),
                "metrics": address_of(self._metrics_socket),
            }
        )
        workers = settings.workers if self._shared else 0
        self._slots = [worker_slot(number + 1) for number in range(workers)]
        self._fleet = Fleet(self._slots, self._settings, self._shared_metrics, clock)

    def _bound(self, address: str, setting: str, *, shared: bool = False) -> socket.socket:
        sock = bind(address, setting, shared=shared)
        self._stack.callback(sock.close)
        return sock

    async def run(self, on_ready: Callable[[Started], None]) -> None:
        """Start, wait for the end, stop."""
        settings, stack = self._settings, self._stack
        await self._health()
        await recover_unused(self._data, settings, [MAIN_SLOT, *self._slots], self._clock)
        core = await stack.enter_async_context(
            open_core(
                settings,
                self._clock,
                self._metrics,
                slot=MAIN_SLOT,
                main=True,
                patience=self._patience,
            )
        )
        await self._on_record(core)
        looking = await self._index(core)
        stack.push_async_callback(self._essentials.stop)
        await self._control(core, looking)
        data_plane = Check("data-plane", self._data_plane_failure)
        self._ready = checks(core, looking.indexer, self._stop, data_plane, self._fleet.audit)
        self._essentials.start(core.identity.watch(lambda: None), "certificates")
        self._essentials.start(self._reconciling(core), "RoleBindings")
        if core.store.shared:
            follower = AuthorityFollower(core.identity, core.store, core.watcher)
            self._essentials.start(follower.run(), "authorities of the replicas")
        try:
            if self._shared:
                await self._fleet.start(self._essentials, self._stop.asked)
            else:
                await self._start_plane(core)
            core.watcher.lead(lambda version: self._follow(core, version))
            if not self._stop.asked.is_set():
                on_ready(self._started(core))
                notify("READY=1")
                _log.info("ready", version=__version__, workers=settings.workers)
            await self._essentials.wait(self._stop.asked)
            _log.info("stopping", reason=self._stop.reason, timeout=settings.drain_timeout)
            notify("STOPPING=1")
        finally:
            await self._drain()

    # --- the parts ---------------------------------------------------------------------------

    async def _on_record(self, core: Core) -> None:
        """What this start changes of what is there: settings, our administrator, our own cluster."""
        host, port = split_address(self._settings.control)
        # What listens on every address is reached on this machine through its loopback.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

        # Into the journal itself: what ships it, and may be waited for, has not begun yet.
        starter = Actor(detail={**person().detail, "via": "serve"})
        acts = Acts(into(core.journal), self._clock, starter)
        await record_settings(core.data, self._given, acts)

        async def ensure_ours() -> Credential | None:
            return await ensure_admin(
                core.data,
                core.store,
                core.identity.authorities(),
                acts,
                server=f"https://{address}",
                clock=self._clock,
            )

        async def renew() -> None:
            if await ensure_ours() is not None:
                await core.watcher.refresh()

        async def ensure() -> None:
            await ensure_ours()
            await register_local(self._settings.in_cluster, core.store, acts)
            await record_noted(self._settings, core.store, into(core.journal), self._clock)
            await core.watcher.refresh()

        await (self._patience.until(ensure) if core.sharing is not None else ensure())
        self._essentials.start(keep_admin(renew), "local administrator")

    async def _index(self, core: Core) -> Looking:
        """The index, what keeps it level, and what looks at it need besides."""
        if core.sharing is not None:
            looks = SharedLooks(core.sharing, self._data.journal)
            self._essentials.start(core.sharing.shipper.run(), "shipper")
            self._essentials.start(looks.live.run(), "live rows")
            return Looking(core.sharing.index, core.sharing.shipper, looks)
        index = await SqliteIndex.open(self._data.index_database)
        self._stack.push_async_callback(index.close)
        indexer = Indexer(self._data.journal, index, clock=self._clock, metrics=self._metrics)
        core.journal.on_durable(indexer.wake)
        self._essentials.start(indexer.run(), "indexer")
        return Looking(index, indexer, indexer)

    async def _control(self, core: Core, looking: Looking) -> None:
        recorder, clock, metrics = core.recorder, self._clock, self._metrics
        most = self._settings.limits.recorded_refusals
        strangers = Strangers("control", recorder, clock, metrics, per_minute=most)
        self._stack.callback(strangers.close)
        services = Services(
            settings=self._settings,
            clock=clock,
            metrics=metrics,
            journal=recorder,
            store=core.store,
            watcher=core.watcher,
            authorities=core.identity.authorities,
            clusters=ClusterExaminer(core.store, self._settings.upstream, clock=self._clock),
            index=looking.index,
            indexer=looking.looks,
            suspicion=core.suspicion,
            strangers=strangers,
            advertised=self._advertised,
        )
        failures = FailedConnections("control", recorder, metrics, clock, strangers)
        listener = WebListener(
            build(services),
            self._control_socket,
            core.identity.control.context,
            failures.record,
        )
        await listener.start()
        self._stack.push_async_callback(listener.stop)

    async def _health(self) -> None:
        """From the first moment on: a start may have to wait."""
        listener = WebListener(
            health_app(self._registry, live=[Check("ping", lambda: "")], ready=lambda: self._ready),
            self._metrics_socket,
        )
        await listener.start()
        self._stack.push_async_callback(listener.stop)

    async def _reconciling(self, core: Core) -> None:
        pool = Pool(self._settings.upstream, self._clock)
        reconciler = Reconciler(
            core.store,
            core.watcher,
            pool,
            core.recorder,
            upstream=self._settings.upstream,
            clock=self._clock,
            metrics=self._metrics,
        )
        try:
            await reconciler.run()
        finally:
            pool.close()

    async def _start_plane(self, core: Core) -> None:
        plane = core.data_plane()
        await plane.start(self._gateway_socket)
        self._essentials.start(plane.failed(), "data plane")
        self._plane = plane

    async def _follow(self, core: Core, version: int) -> None:
        await asyncio.gather(core.settled(), self._fleet.follow(version))

    async def _drain(self) -> None:
        if self._plane is not None:
            await drain(self._plane, self._settings.drain_timeout, self._stop)
        await self._fleet.stop(self._stop.now)

    # --- what they ask -----------------------------------------------------------------------

    def _advertised(self) -> str:
        if self._settings.advertise:
            return self._settings.advertise
        port = split_address(self._settings.listen)[1]
        host = next(iter(self._settings.tls.names), "localhost")
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _data_plane_failure(self) -> str:
        if self._shared:
            return self._fleet.failure()
        return "" if self._plane is not None else "starting"

    def _registry(self) -> CollectorRegistry:
        return shared_registry(self._shared_metrics) if self._shared else self._metrics.registry

    def _started(self, core: Core) -> Started:
        return Started(
            data_plane=self._settings.listen,
            control=self._settings.control,
            metrics=self._settings.metrics,
            data_dir=self._data.path,
            index="PostgreSQL" if core.sharing is not None else str(self._data.index_database),
            workers=self._settings.workers,
            clusters=tuple(sorted(core.watcher.current.clusters)),
        )
