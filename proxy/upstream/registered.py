"""Another account at a registered cluster: its login, at the address and with the trust of the first.

Who may give an account manages a cluster; where that cluster is, and how it proves that, was said by
whoever registered it, and holds for every account there.
"""

import asyncio

from proxy.clock import Clock
from proxy.reaching import Upstream, place
from proxy.upstream.access import Access, AccessError, load_document, read_access
from proxy.upstream.handle import TargetHandle, open_target
from proxy.upstream.kubeclient import in_cluster_access
from proxy.upstream.permitted import permitted


class ElsewhereError(AccessError):
    """A kubeconfig is of another cluster than the registered one."""


def pinned(name: str, kubeconfig: bytes, first: bytes) -> bytes:
    """The login of `kubeconfig`, as a kubeconfig at the address and with the trust of `first`.

    Raises ElsewhereError when it is of another cluster, AccessError when it cannot be used.
    """
    registered = read_access(load_document(first))
    given = read_access(load_document(kubeconfig))
    _require_same(given, registered, in_cluster=False)
    return given.at(registered).document(name)


async def load_second(
    name: str,
    kubeconfig: bytes,
    first: bytes | None,
    *,
    upstream: Upstream,
    clock: Clock,
    given: bool = False,
) -> TargetHandle:
    """A handle on cluster `name` with the account of `kubeconfig`, as `load_target` makes one.

    `first` is the kubeconfig the cluster is registered with; None: it is the pod's own. With
    `given` the kubeconfig comes from a person, and must be of that very cluster. Raises AccessError
    and LoginError.
    """
    return await open_target(
        name, await asyncio.to_thread(_read, kubeconfig, first, upstream, given), clock=clock
    )


def _read(kubeconfig: bytes, first: bytes | None, upstream: Upstream, given: bool) -> Access:
    registered = in_cluster_access() if first is None else read_access(load_document(first))
    second = read_access(load_document(kubeconfig))
    if given:
        _require_same(second, registered, in_cluster=first is None)
    return permitted(second.at(registered), upstream)


def _require_same(second: Access, registered: Access, *, in_cluster: bool) -> None:
    # People know the cluster of our pod by another address than the pod does; its CA proves it.
    if not in_cluster and place(second.server) != place(registered.server):
        raise ElsewhereError(
            f"The kubeconfig's server is {second.server}, and the cluster is registered as {registered.server}.",
            hint="Write the registered address into the kubeconfig.",
        )
    if in_cluster or second.ca_pem is not None:
        _require_same_trust(second, registered)
    if second.insecure and not registered.insecure:
        raise ElsewhereError(
            "The kubeconfig does not verify the server, and the registered cluster is verified.",
            hint="Use the certificate-authority-data the cluster was registered with.",
        )


def _require_same_trust(second: Access, registered: Access) -> None:
    if (second.ca_pem or b"").strip() != (registered.ca_pem or b"").strip():
        raise ElsewhereError(
            f"The kubeconfig's certificate authority is not the one that {registered.server} is registered with.",
            hint="Use the certificate-authority-data the cluster was registered with.",
        )
