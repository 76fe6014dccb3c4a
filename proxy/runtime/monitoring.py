"""What the metrics and health listener shows of a running proxy."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Info
from prometheus_client.multiprocess import MultiProcessCollector

from proxy import __version__
from proxy.control.health import Check
from proxy.runtime.core import Core
from proxy.runtime.indexing import AwaitedIndexer
from proxy.runtime.process import Stop


def checks(core: Core, indexer: AwaitedIndexer, stop: Stop, data_plane: Check) -> list[Check]:
    """The checks of `/readyz`: what calls need, and what they can do without."""

    def certificate() -> str:
        left = core.identity.server_expiry() - core.clock.now()
        return "the server certificate has expired" if left <= 0 else ""

    return [
        Check("shutdown", lambda: "stopping" if stop.asked.is_set() else ""),
        Check("journal", lambda: core.journal.failure),
        Check("state", core.state_failure),
        Check("index", indexer.failure, vital=False),
        Check("certificate", certificate),
        data_plane,
    ]


def shared_registry(directory: Path) -> CollectorRegistry:
    """The metrics of every process that keeps its values in `directory`, as they are now."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    # Text values are not shared between processes.
    build = Info("kubewitness_build", "Version of the running proxy.", registry=registry)
    build.info({"version": __version__})
    return registry
