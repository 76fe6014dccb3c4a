"""The class of a call: how much care it needs before and after it is forwarded.

Decided from the parsed attributes and from `Upgrade`, never from one spelling of a path. Whatever
is not known to be harmless counts as a mutation.
"""

from __future__ import annotations

import enum
from typing import Final

from proxy.kube.attributes import RequestInfo

_READING_METHODS: Final = frozenset({"GET", "HEAD"})
_READING_VERBS: Final = frozenset({"get", "list"})
_LONG_RUNNING_VERBS: Final = frozenset({"watch", "proxy"})
_LONG_RUNNING_SUBRESOURCES: Final = frozenset({"attach", "exec", "proxy", "log", "portforward"})
# Each of these runs code, opens a pipe into a cluster, or hands out a credential.
_PRIVILEGED_SUBRESOURCES: Final = frozenset({"attach", "exec", "portforward", "proxy"})
# POSTs that only ask a question about the caller. Reviews about others stay mutations: they carry
# tokens (TokenReview) or probe somebody else's rights.
_SELF_REVIEWS: Final = frozenset(
    {
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
    }
)
_HEALTH: Final = frozenset({"healthz", "livez", "readyz"})
_DISCOVERY: Final = frozenset({"api", "apis", "openapi", "version"})


class CallClass(enum.StrEnum):
    """What a call can do, from the proxy's point of view."""

    READ = "read"
    """Answers and ends: get, list, and reviews of the caller's own rights (which are POSTs)."""
    MUTATE = "mutate"
    """May change something; also every method and verb that is not known, and dry runs."""
    STREAM = "stream"
    """Reads without a known end: watches, logs (followed or not), profiles."""
    DISCOVERY = "discovery"
    """What an API server serves and in which version: noise of every client's start."""
    HEALTH = "health"
    """Probes."""
    PRIVILEGED = "privileged"
    """Reaches into a pod or node, hands out a token, or switches protocols, whatever the method."""


def classify(method: str, info: RequestInfo, upgrade: bool) -> CallClass:
    """The class of a call.

    Args:
        method: as received; only `GET` and `HEAD` in capitals read.
        info: the attributes of the request.
        upgrade: whether the request asks for another protocol. kube-apiserver hands such a
            connection on, so it is privileged on any path (a node's `proxy` runs commands on GET).
    """
    if upgrade:
        return CallClass.PRIVILEGED
    if not info.is_resource:
        return _classify_other(method, info.path)
    subresource = info.subresource
    if (
        subresource in _PRIVILEGED_SUBRESOURCES
        or info.verb == "proxy"
        or (subresource == "token" and info.resource == "serviceaccounts")
    ):
        return CallClass.PRIVILEGED
    if method not in _READING_METHODS:
        is_question = (
            info.verb == "create" and not info.name and (info.group, info.resource) in _SELF_REVIEWS
        )
        return CallClass.READ if is_question else CallClass.MUTATE
    if info.verb == "watch" or subresource == "log":
        return CallClass.STREAM
    return CallClass.READ if info.verb in _READING_VERBS else CallClass.MUTATE


def _classify_other(method: str, path: str) -> CallClass:
    if method not in _READING_METHODS:
        return CallClass.MUTATE
    first = path.strip("/").partition("/")[0]
    if first in _HEALTH:
        return CallClass.HEALTH
    if first in _DISCOVERY:
        return CallClass.DISCOVERY
    return CallClass.STREAM if path.startswith("/debug/pprof/") else CallClass.READ


def long_running(info: RequestInfo, *, upgrade: bool = False) -> bool:
    """Whether kube-apiserver exempts the request from its 60 s deadline.

    Plain `kubectl logs` counts as well; so do upgrades, which it tests by their subresource.
    """
    if info.is_resource:
        return (
            upgrade
            or info.verb in _LONG_RUNNING_VERBS
            or info.subresource in _LONG_RUNNING_SUBRESOURCES
        )
    return upgrade or info.path.startswith("/debug/pprof/")


def may_have_effect(call_class: CallClass) -> bool:
    """Whether the intent must be durable before the first byte of the call goes upstream."""
    return call_class is CallClass.MUTATE or call_class is CallClass.PRIVILEGED
