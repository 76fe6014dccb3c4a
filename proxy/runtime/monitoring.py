"""What the metrics and health listener shows of a running proxy."""

from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Info
from prometheus_client.multiprocess import MultiProcessCollector

from proxy import __version__
from proxy.audit.gate import Level
from proxy.audit.index.indexer import Indexer
from proxy.control.health import Check, Trouble
from proxy.runtime.core import Core
from proxy.runtime.process import Stop


def checks(
    core: Core,
    indexer: Indexer,
    stop: Stop,
    data_plane: Check,
    workers: Callable[[], Iterable[tuple[Level, str]]] = tuple,
) -> list[Check]:
    """The checks of `/readyz`: what calls need, and what they can do without.

    `workers` are the audit states of the other processes, each with its cause.
    """

    def certificate() -> str:
        left = core.identity.server_expiry() - core.clock.now()
        return "the server certificate has expired" if left <= 0 else ""

    def audit() -> Trouble:
        return audit_trouble([(core.gate.level, core.gate.cause), *workers()])

    return [
        Check("shutdown", lambda: "stopping" if stop.asked.is_set() else ""),
        Check("audit", audit),
        Check("journal", lambda: core.journal.failure),
        # Of a shared database the last snapshot does, or an outage of it would stop every replica.
        Check("state", core.state_failure, vital=core.sharing is None),
        Check("index", indexer.failure, vital=False),
        Check("certificate", certificate),
        data_plane,
    ]


def audit_trouble(states: Iterable[tuple[Level, str]]) -> Trouble:
    """The worst of the processes' audit states, as the health page shows it; empty when all is well."""
    states = list(states)
    worst = max(level for level, _ in states)
    causes = dict.fromkeys(cause for level, cause in states if level is worst and cause)
    return Trouble("; ".join(causes), vital=worst is Level.CLOSED, state=worst.word)


def shared_registry(directory: Path) -> CollectorRegistry:
    """The metrics of every process that keeps its values in `directory`, as they are now."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    # Text values are not shared between processes.
    build = Info("kubewitness_build", "Version of the running proxy.", registry=registry)
    build.info({"version": __version__})
    return registry
