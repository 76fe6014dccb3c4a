"""Routes of clusters: add, list, check, remove.

What comes in is a kubeconfig with one context; it is sealed before it is stored, and nothing of it
but the server's address ever goes out again.
"""

from typing import Annotated

import msgspec

from proxy.clock import rfc3339
from proxy.control.route import About, Act, Detail, Route
from proxy.errors import InvalidInputError
from proxy.state.repository import check_cluster_name
from proxy.state.snapshot import ClusterRecord


class AddRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A cluster to add: a kubeconfig, or the cluster the proxy itself runs in."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    kubeconfig: str = ""
    """YAML with one context, certificates and keys embedded."""
    in_cluster: bool = False


class ClusterItem(msgspec.Struct, frozen=True, rename="camel"):
    """A cluster as it is listed. There is no secret in it."""

    name: str
    id: str
    server: str
    created_at: str
    in_cluster: bool
    note: str
    """What our account may do there beyond impersonating; empty when nothing."""


class ClusterList(msgspec.Struct, frozen=True):
    """Clusters by name."""

    items: tuple[ClusterItem, ...]


class ClusterCheck(msgspec.Struct, frozen=True):
    """What a look at a cluster showed."""

    name: str
    server: str
    version: str
    note: str


async def list_clusters(act: Act) -> ClusterList:
    """Every registered cluster."""
    return ClusterList(tuple(_item(record) for record in await act.services.store.clusters()))


async def add(act: Act) -> ClusterItem:
    """Connect, look what our account may do there, and register."""
    wanted, services = act.body_as(AddRequest), act.services
    check_cluster_name(wanted.name)
    if wanted.in_cluster == bool(wanted.kubeconfig):
        raise InvalidInputError("Give either a kubeconfig or inCluster.")
    kubeconfig = wanted.kubeconfig.encode()
    seen = await services.clusters.examine(kubeconfig, in_cluster=wanted.in_cluster)
    record = await services.store.add_cluster(
        wanted.name,
        server=seen.server,
        kubeconfig=kubeconfig,
        in_cluster=wanted.in_cluster,
        note=seen.note,
    )
    act.detail.update({"id": record.id, "server": record.server, "note": record.note})
    await services.watcher.refresh()
    return _item(record)


async def remove(act: Act) -> None:
    """Forget a cluster and our credential there; calls to it are refused from then on."""
    record = await act.services.store.remove_cluster(act.param("name"))
    act.detail.update({"id": record.id, "server": record.server})
    await act.services.watcher.refresh()


async def check(act: Act) -> ClusterCheck:
    """Connect now and look what our account may do."""
    store = act.services.store
    record = await store.cluster(act.param("name"))
    seen = await act.services.clusters.check(record)
    await store.set_cluster_note(record.name, seen.note)
    act.detail["note"] = seen.note
    return ClusterCheck(record.name, seen.server, seen.version, seen.note)


def _item(record: ClusterRecord) -> ClusterItem:
    return ClusterItem(
        name=record.name,
        id=record.id,
        server=record.server,
        created_at=rfc3339(record.created_at),
        in_cluster=record.in_cluster,
        note=record.note,
    )


def _about_add(act: Act) -> About:
    wanted = act.body_as(AddRequest)
    detail: Detail = {"inCluster": wanted.in_cluster}
    return About(wanted.name, detail)


def _about_named(act: Act) -> About:
    return About(act.param("name"))


ROUTES = (
    Route("GET", "/clusters", "listClusters", "List clusters.", list_clusters, response=ClusterList),
    Route(
        "POST", "/clusters", "addCluster", "Add a cluster.", add,
        action="cluster.add", about=_about_add, body=AddRequest, response=ClusterItem, status=201,
    ),
    Route(
        "DELETE", "/clusters/{name}", "removeCluster", "Remove a cluster.", remove,
        action="cluster.remove", about=_about_named, status=204,
    ),
    Route(
        "POST", "/clusters/{name}/check", "checkCluster", "Look at a cluster now.", check,
        action="cluster.check", about=_about_named, response=ClusterCheck,
    ),
)  # fmt: skip
