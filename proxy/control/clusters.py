"""Routes of clusters: add, list, check, remove.

What comes in is a kubeconfig with one context; it is sealed before it is stored, and nothing of it
but the server's address ever goes out again.
"""

from typing import Annotated

import msgspec

from proxy.clock import rfc3339
from proxy.control.entry.fields import Limit, PagedQuery, ReasonQuery, page
from proxy.control.entry.route import About, Act, Detail, Route, about_name
from proxy.control.entry.seeing import seen_clusters
from proxy.errors import InvalidInputError, not_found
from proxy.state.permission import Permission
from proxy.state.repository import check_cluster_name
from proxy.state.snapshot import ClusterRecord
from proxy.upstream.permitted import described


class AddRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A cluster to add: a kubeconfig, or the cluster the proxy itself runs in."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    kubeconfig: str = ""
    """YAML with one context, token or certificates and keys inline. What it would use of the server's
    own machine (`exec`, `tokenFile`, plain HTTP) is what that machine's operator permits."""
    in_cluster: bool = False
    """The cluster that the proxy runs in, by the service account of its pod."""


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
    next: str = ""
    """Cursor of the next page; empty at the end."""


class ClusterQuery(PagedQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which page of the clusters."""

    limit: Limit = 1000


class ClusterCheck(msgspec.Struct, frozen=True):
    """What a look at a cluster showed."""

    name: str
    server: str
    version: str
    note: str


async def list_clusters(act: Act) -> ClusterList:
    """The registered clusters that the caller may see, whole or some of their namespaces."""
    seen = seen_clusters(act, Permission.LOOK_AT_CLUSTERS)
    found = [record for record in await act.services.store.clusters() if record.name in seen]
    shown, following = page(found, lambda record: (record.name,), act.query_as(ClusterQuery))
    return ClusterList(tuple(_item(record) for record in shown), following)


async def add(act: Act) -> ClusterItem:
    """Connect, look what our account may do there, and register."""
    act.require(Permission.MANAGE_CLUSTERS)
    wanted, services = act.body_as(AddRequest), act.services
    check_cluster_name(wanted.name)
    if wanted.in_cluster == bool(wanted.kubeconfig):
        raise InvalidInputError("Give either a kubeconfig or inCluster.")
    kubeconfig = wanted.kubeconfig.encode()
    seen = await services.clusters.examine(wanted.name, kubeconfig, in_cluster=wanted.in_cluster)
    record = await services.store.add_cluster(
        wanted.name,
        server=seen.server,
        kubeconfig=kubeconfig,
        in_cluster=wanted.in_cluster,
        note=seen.note,
    )
    await services.watcher.refresh()
    act.changed(None, _item(record))
    return _item(record)


async def remove(act: Act) -> None:
    """Forget a cluster and our credential there; calls to it are refused from then on."""
    name = _seen(act)
    act.require(Permission.MANAGE_CLUSTERS)
    record = await act.services.store.remove_cluster(name, by=act.user)
    act.changed(_item(record), None)
    await act.services.watcher.refresh()


async def check(act: Act) -> ClusterCheck:
    """Connect now and look what our account may do."""
    store = act.services.store
    record = await store.cluster(_seen(act))
    seen = await act.services.clusters.check(record)
    await store.set_cluster_note(record.name, seen.note)
    act.detail["note"] = seen.note
    return ClusterCheck(record.name, seen.server, seen.version, seen.note)


def _seen(act: Act) -> str:
    """The name in the path, if the caller gets to see that cluster: NotFoundError."""
    name = act.param("name")
    if name not in seen_clusters(act, Permission.LOOK_AT_CLUSTERS):
        raise not_found("cluster", name)
    return name


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
    account = {"login": "service account"} if wanted.in_cluster else described(wanted.kubeconfig)
    detail: Detail = {"inCluster": wanted.in_cluster, **account}
    return About(wanted.name, detail)


ROUTES = (
    Route(
        "GET", "/clusters", "listClusters", "List clusters.", list_clusters,
        query=ClusterQuery, response=ClusterList,
    ),
    Route(
        "POST", "/clusters", "addCluster", "Add a cluster.", add,
        action="cluster.add", about=_about_add, body=AddRequest, response=ClusterItem, status=201,
    ),
    Route(
        "DELETE", "/clusters/{name}", "removeCluster", "Remove a cluster.", remove,
        action="cluster.remove", about=about_name, query=ReasonQuery, status=204,
    ),
    Route(
        "POST", "/clusters/{name}/check", "checkCluster", "Look at a cluster now.", check,
        action="cluster.check", about=about_name, response=ClusterCheck,
    ),
)  # fmt: skip
