"""The cluster that our own pod runs in: registered at start, by the pod's service account.

Whoever installs the proxy in a cluster has said by that which one it is for; nobody has to add it.
"""

from collections.abc import Callable
from typing import Final

import structlog

from proxy.audit.acts import Acts
from proxy.errors import ConflictError, InvalidInputError, SettingsError
from proxy.state.repository import StateStore, check_cluster_name
from proxy.state.snapshot import ClusterRecord
from proxy.upstream.access import Access
from proxy.upstream.kubeclient import in_cluster_access

ACTION: Final = "cluster.add"
_log = structlog.get_logger(__name__)


async def register_local(
    name: str,
    store: StateStore,
    acts: Acts,
    access: Callable[[], Access] = in_cluster_access,
) -> bool:
    """Register the cluster our pod runs in as `name`; an empty one registers nothing.

    Returns whether it was added now. Whether it answers does not matter: a start must not depend
    on it, and the looks at every cluster say so. Raises SettingsError for an unusable name,
    AccessError outside a pod, ConflictError when `name` is another cluster, UnavailableError when
    it cannot be recorded.
    """
    if not name:
        return False
    try:
        check_cluster_name(name)
    except InvalidInputError as error:
        raise SettingsError(f"in_cluster: {error.message}", hint=error.hint) from error
    server = access().server
    if await _known(store, name):
        return False
    detail = {"inCluster": True, "server": server, "by": "the setting in_cluster"}
    try:
        async with acts.act(ACTION, name, detail) as told:
            record = await store.add_cluster(name, server=server, kubeconfig=b"", in_cluster=True)
            told["id"] = record.id
    except ConflictError:
        if await _known(store, name):  # another replica was faster
            return False
        raise
    _log.info("registered the cluster that this pod runs in", cluster=name, server=server)
    return True


async def _known(store: StateStore, name: str) -> bool:
    """Whether `name` is our own cluster already. Raises ConflictError when it is another one."""
    found: list[ClusterRecord] = [item for item in await store.clusters() if item.name == name]
    if found and not found[0].in_cluster:
        raise ConflictError(
            f"in_cluster: the cluster {name!r} is registered already, and it is {found[0].server}.",
            hint="Choose another name, or remove that cluster first.",
        )
    return bool(found)
