"""Routes of clusters: add, list, show, change, check, remove.

What comes in is a kubeconfig with one context; it is sealed before it is stored, and nothing of it
but the server's address ever goes out again.
"""

import asyncio
from typing import Annotated, Final

import msgspec

from proxy.clock import rfc3339
from proxy.control.entry.fields import Limit, PagedQuery, Reason, ReasonQuery, page
from proxy.control.entry.route import About, Act, Detail, Route, Versioned, about_name, reason_of
from proxy.control.entry.seeing import seen_clusters
from proxy.control.people.denials import check_forgetting
from proxy.errors import DeniedError, InvalidInputError, not_found
from proxy.state.access import ORGANIZATION, Scope, ScopeKind
from proxy.state.permission import Permission
from proxy.state.repository import StateStore, check_cluster_name
from proxy.state.snapshot import ClusterRecord
from proxy.upstream.permitted import described
from proxy.upstream.registered import ElsewhereError, pinned

_POD: Final[Detail] = {"login": "service account"}
"""How the cluster of our own pod is reached, for the record."""


class AddRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A cluster to add: a kubeconfig, or the cluster the proxy itself runs in."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    kubeconfig: str = ""
    """YAML with one context, token or certificates and keys inline. What it would use of the server's
    own machine (`exec`, `tokenFile`, plain HTTP) is what that machine's operator permits."""
    in_cluster: bool = False
    """The cluster that the proxy runs in, by the service account of its pod."""


class ChangeRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Another account of ours at the cluster: a kubeconfig, or that of the proxy's own pod."""

    kubeconfig: str = ""
    """As when a cluster is added. Who does not manage the clusters of the organization gives one of
    the same server and certificate authority."""
    in_cluster: bool = False
    """Takes cluster.manage in the organization."""
    reason: Reason = ""


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


async def show(act: Act) -> Versioned:
    """One cluster."""
    return _versioned(await act.services.store.cluster(_seen(act)))


async def add(act: Act) -> Versioned:
    """Connect, look what our account may do there, and register."""
    act.require(Permission.MANAGE_CLUSTERS)
    wanted, services = act.body_as(AddRequest), act.services
    check_cluster_name(wanted.name)
    _require_one_account(wanted.in_cluster, wanted.kubeconfig)
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
    return _versioned(record)


async def change(act: Act) -> Versioned:
    """Reach it with another account, once that has shown that it can; it stays the same cluster."""
    services, name = act.services, _seen(act)
    act.require(Permission.MANAGE_CLUSTERS, Scope(ScopeKind.CLUSTER, cluster=name))
    wanted, known = act.body_as(ChangeRequest), await services.store.cluster(name)
    _require_one_account(wanted.in_cluster, wanted.kubeconfig)
    kubeconfig = await _account(act, wanted, known)
    act.detail["replaced"] = _described(services.store, known)
    seen = await services.clusters.examine(name, kubeconfig, in_cluster=wanted.in_cluster)
    before, after = await services.store.change_cluster(
        name,
        server=seen.server,
        kubeconfig=kubeconfig,
        in_cluster=wanted.in_cluster,
        note=seen.note,
        expected=act.unchanged(known.version),
    )
    await services.watcher.refresh()
    act.changed(_item(before), _item(after))
    return _versioned(after)


async def _account(act: Act, wanted: ChangeRequest, known: ClusterRecord) -> bytes:
    """The kubeconfig to reach `known` with. Where that is, and how it proves it, is the organization's
    to say: DeniedError for others."""
    if act.services.settings.in_cluster == known.name and not wanted.in_cluster:
        raise InvalidInputError(
            f"{known.name!r} is the cluster of the proxy's own pod, by the setting in_cluster.",
            hint="Its account is the pod's service account.",
        )
    if wanted.in_cluster or known.in_cluster:
        act.require(Permission.MANAGE_CLUSTERS)
    given = wanted.kubeconfig.encode()
    if act.holds(Permission.MANAGE_CLUSTERS, ORGANIZATION):
        return given
    try:
        return await asyncio.to_thread(
            pinned, known.name, given, act.services.store.kubeconfig(known)
        )
    except ElsewhereError as error:
        raise DeniedError(
            f"{error.message} {act.user!r} may not say where the cluster is: that needs the permission {Permission.MANAGE_CLUSTERS} at {ORGANIZATION}.",
            hint=error.hint,
        ) from error


async def remove(act: Act) -> None:
    """Forget a cluster and our credential there; calls to it are refused from then on."""
    name, store = _seen(act), act.services.store
    act.require(Permission.MANAGE_CLUSTERS)
    check_forgetting(act, name)
    known = await store.cluster(name)
    record = await store.remove_cluster(name, by=act.user, expected=act.unchanged(known.version))
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


def _require_one_account(in_cluster: bool, kubeconfig: str) -> None:
    if in_cluster == bool(kubeconfig):
        raise InvalidInputError("Give either a kubeconfig or inCluster.")


def _described(store: StateStore, record: ClusterRecord) -> Detail:
    """Our present account, for the record."""
    if record.in_cluster:
        return {"server": record.server, **_POD}
    return described(store.kubeconfig(record).decode())


def _versioned(record: ClusterRecord) -> Versioned:
    return Versioned(_item(record), record.version)


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
    account = _POD if wanted.in_cluster else described(wanted.kubeconfig)
    detail: Detail = {"inCluster": wanted.in_cluster, **account}
    return About(wanted.name, detail)


def _about_change(act: Act) -> About:
    wanted = act.body_as(ChangeRequest)
    account = _POD if wanted.in_cluster else described(wanted.kubeconfig)
    detail: Detail = {**reason_of(act), "inCluster": wanted.in_cluster, **account}
    return About(act.param("name"), detail)


ROUTES = (
    Route(
        "GET", "/clusters", "listClusters", "List clusters.", list_clusters,
        query=ClusterQuery, response=ClusterList,
    ),
    Route(
        "POST", "/clusters", "addCluster", "Add a cluster.", add,
        action="cluster.add", about=_about_add, body=AddRequest, response=ClusterItem, status=201,
        versioned=True,
    ),
    Route(
        "GET", "/clusters/{name}", "getCluster", "Show a cluster.", show,
        response=ClusterItem, versioned=True,
    ),
    Route(
        "PATCH", "/clusters/{name}", "changeCluster",
        "Reach a cluster with another account of ours there; it stays the same cluster.", change,
        action="cluster.change", about=_about_change, body=ChangeRequest, response=ClusterItem,
        versioned=True, conditional=True,
    ),
    Route(
        "DELETE", "/clusters/{name}", "removeCluster", "Remove a cluster.", remove,
        action="cluster.remove", about=about_name, query=ReasonQuery, status=204,
        conditional=True,
    ),
    Route(
        "POST", "/clusters/{name}/check", "checkCluster", "Look at a cluster now.", check,
        action="cluster.check", about=about_name, response=ClusterCheck,
    ),
)  # fmt: skip
