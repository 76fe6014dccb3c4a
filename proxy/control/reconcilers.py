"""Routes of what keeps a cluster's RoleBindings in step with the grants.

What comes in is the kubeconfig of a second account, sealed before it is stored; nothing of it but
the server's address ever goes out again.
"""

from typing import Annotated

import msgspec

from proxy.authz.bindings import look
from proxy.clock import rfc3339
from proxy.control.entry.route import About, Act, Detail, Route, Versioned, about_name
from proxy.control.entry.seeing import seen_clusters
from proxy.errors import NotFoundError, not_found
from proxy.state.access import Scope, ScopeKind
from proxy.state.permission import Permission
from proxy.state.reconcilers import ReconcilerRecord
from proxy.upstream.permitted import described
from proxy.upstream.pool import Pool
from proxy.upstream.registered import load_second
from proxy.upstream.rolebindings import RoleBindings


class ReconcileRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How a cluster's RoleBindings are looked after."""

    kubeconfig: Annotated[str, msgspec.Meta(min_length=1)]
    """YAML with one context, of the account that manages RoleBindings there: its token or client
    certificate inline, server and certificate authority those of the registered cluster."""
    enforce: bool = False
    """Whether differences are mended; otherwise they are reported."""


class ReconcilerItem(msgspec.Struct, frozen=True, rename="camel"):
    """How a cluster's RoleBindings are looked after, and how they are now. No secret is in it."""

    cluster: str
    server: str
    enforce: bool
    created_at: str
    created_by: str
    drift: tuple[str, ...]
    """What differs from the grants at this moment, in words."""


async def show(act: Act) -> Versioned:
    """Look at the cluster now."""
    record = await act.services.store.reconcilers.find(_seen(act))
    kubeconfig = act.services.store.reconcilers.kubeconfig(record)
    server, drift = await _look(act, record.cluster, kubeconfig)
    return Versioned(_shown(record, drift, server), record.version)


async def put(act: Act) -> Versioned:
    """Have RoleBindings looked after, once the account has shown that it can."""
    name, given = _seen(act), act.body_as(ReconcileRequest)
    act.require(Permission.MANAGE_CLUSTERS, Scope(ScopeKind.CLUSTER, cluster=name))
    kubeconfig, services = given.kubeconfig.encode(), act.services
    server, drift = await _look(act, name, kubeconfig, given=True)
    before = await _present(act, name)
    record = await services.store.reconcilers.put(
        name,
        server=server,
        kubeconfig=kubeconfig,
        enforce=given.enforce,
        by=act.user,
        expected=act.unchanged(before.version if before is not None else 0),
    )
    item = _shown(record, drift)
    act.changed(_shown(before, ()) if before is not None else None, item)
    await services.watcher.refresh()
    return Versioned(item, record.version)


async def remove(act: Act) -> None:
    """Look after them no more. What was made stays in the cluster."""
    name = _seen(act)
    act.require(Permission.MANAGE_CLUSTERS, Scope(ScopeKind.CLUSTER, cluster=name))
    reconcilers = act.services.store.reconcilers
    known = await reconcilers.find(name)
    record = await reconcilers.remove(name, expected=act.unchanged(known.version))
    act.changed(_shown(record, ()), None)
    await act.services.watcher.refresh()


async def _present(act: Act, name: str) -> ReconcilerRecord | None:
    try:
        return await act.services.store.reconcilers.find(name)
    except NotFoundError:
        return None


def _shown(record: ReconcilerRecord, drift: tuple[str, ...], server: str = "") -> ReconcilerItem:
    """`server`: where the cluster is now, if it has moved since."""
    return ReconcilerItem(
        cluster=record.cluster,
        server=server or record.server,
        enforce=record.enforce,
        created_at=rfc3339(record.created_at),
        created_by=record.created_by,
        drift=drift,
    )


async def _look(
    act: Act, name: str, kubeconfig: bytes, *, given: bool = False
) -> tuple[str, tuple[str, ...]]:
    """Ask the cluster with that account: its address, and what differs from the grants.

    `given`: it is not ours yet, and must be an account of that very cluster.

    Raises InvalidInputError for an unusable kubeconfig, UnavailableError when the cluster does not
    answer or refuses the account.
    """
    services = act.services
    pool = Pool(services.settings.upstream, services.clock)
    cluster = await services.store.cluster(name)
    handle = await load_second(
        name,
        kubeconfig,
        None if cluster.in_cluster else services.store.kubeconfig(cluster),
        upstream=services.settings.upstream,
        clock=services.clock,
        given=given,
    )
    try:
        bindings = RoleBindings(pool, handle.target)
        drift = await look(bindings, name, lambda: act.access, services.clock)
    finally:
        await handle.close()
        pool.close()
    return handle.server, tuple(drift.sentences())


def _seen(act: Act) -> str:
    """The name in the path, if the caller gets to see all of that cluster: NotFoundError."""
    name = act.param("name")
    whole = Scope(ScopeKind.CLUSTER, cluster=name)
    known = name in seen_clusters(act, Permission.LOOK_AT_CLUSTERS)
    if not known or not act.holds(Permission.LOOK_AT_CLUSTERS, whole):
        raise not_found("cluster", name)
    return name


def _about_put(act: Act) -> About:
    given = act.body_as(ReconcileRequest)
    detail: Detail = {"enforce": given.enforce, **described(given.kubeconfig)}
    return About(act.param("name"), detail)


ROUTES = (
    Route(
        "GET", "/clusters/{name}/reconciler", "getReconciler",
        "How a cluster's RoleBindings are looked after, and what differs from the grants now.", show,
        action="cluster.reconciler.look", about=about_name, response=ReconcilerItem,
        versioned=True,
    ),
    Route(
        "PUT", "/clusters/{name}/reconciler", "setReconciler",
        "Keep a cluster's RoleBindings in step with the grants, or report what differs.", put,
        action="cluster.reconciler.set", about=_about_put, body=ReconcileRequest,
        response=ReconcilerItem, versioned=True, conditional=True,
    ),
    Route(
        "DELETE", "/clusters/{name}/reconciler", "removeReconciler",
        "Look after a cluster's RoleBindings no more.", remove,
        action="cluster.reconciler.remove", about=about_name, status=204, conditional=True,
    ),
)  # fmt: skip
