"""What the control plane needs, handed in by the composition root."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from proxy.audit.index.listeners import Looks
from proxy.audit.index.store import Index
from proxy.audit.port import Journal
from proxy.audit.strangers import Strangers
from proxy.authn.suspicion import Suspicion
from proxy.clock import Clock
from proxy.metrics import Metrics
from proxy.pki.authorities import Authorities
from proxy.settings import Settings
from proxy.state.repository import StateStore
from proxy.state.snapshot import ClusterRecord
from proxy.state.watcher import SnapshotWatcher


class Examination(Protocol):
    """What a look at a cluster showed."""

    @property
    def server(self) -> str:
        """URL of its API server."""
        ...

    @property
    def version(self) -> str:
        """Its `gitVersion`; empty when it did not say."""
        ...

    @property
    def note(self) -> str:
        """What our account may do there beyond impersonating; empty when nothing."""
        ...


class Clusters(Protocol):
    """The one way to reach clusters that is not a forwarded call."""

    async def examine(self, name: str, kubeconfig: bytes, *, in_cluster: bool) -> Examination:
        """Connect with the account of a kubeconfig and look what it may do; errors say `name`.

        Raises InvalidInputError for an unusable kubeconfig, UnavailableError when the cluster
        does not answer or refuses the account.
        """
        ...

    async def check(self, record: ClusterRecord) -> Examination:
        """The same for a registered cluster, at once instead of at the next interval."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the routes use."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    journal: Journal
    store: StateStore
    watcher: SnapshotWatcher
    authorities: Callable[[], Authorities]
    """The authorities as they are now; a rotation replaces them."""
    clusters: Clusters
    index: Index
    indexer: Looks
    suspicion: Suspicion
    strangers: Strangers
    """The budget of refusals without a credential."""
    advertised: Callable[[], str]
    """`host:port` of the data plane, as kubeconfigs name it."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server shuts down, so that live tails end."""
