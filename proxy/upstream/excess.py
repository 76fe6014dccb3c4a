"""What our own account may do on a cluster beyond what it needs, in words a person can act on.

Needed is only to impersonate: users, named groups, uids, and our two extra keys. Everything else
would be at hand for whoever finds a way to make us send a request without an identity.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from proxy.upstream.cluster import EXTRA_CREDENTIAL, EXTRA_IMPERSONATOR

_CORE: Final = ""
_AUTHENTICATION: Final = "authentication.k8s.io"
_AUTHORIZATION: Final = "authorization.k8s.io"
_MASTERS: Final = "system:masters"
_MOST: Final = 8
"""Lines of excess shown; more help nobody."""
_OWN_EXTRAS: Final = frozenset(
    {f"userextras/{EXTRA_CREDENTIAL}", f"userextras/{EXTRA_IMPERSONATOR}"}
)
_READ: Final = frozenset({"get", "list", "watch"})
_EVERYONE: Final = {
    (_AUTHORIZATION, "selfsubjectaccessreviews"): frozenset({"create"}),
    (_AUTHORIZATION, "selfsubjectrulesreviews"): frozenset({"create"}),
    (_AUTHENTICATION, "selfsubjectreviews"): frozenset({"create"}),
    # Certificates of public trust, readable by every service account.
    ("certificates.k8s.io", "clustertrustbundles"): _READ,
}
"""What every authenticated account may do: `system:basic-user`, `system:cluster-trust-bundle-discovery`.

Seen with `kubectl auth can-i --list` on Kubernetes 1.37 as an account with no role at all.
"""
_PUBLIC_PATHS: Final = (
    "/api", "/apis", "/healthz", "/livez", "/readyz", "/openapi", "/version",
    "/.well-known/openid-configuration", "/openid/v1/jwks",
)  # fmt: skip
"""What every authenticated user or service account may get (`system:discovery` and the like)."""


class ResourceRule(msgspec.Struct, frozen=True, rename="camel"):
    """A rule of a SelfSubjectRulesReview, authorization.k8s.io/v1."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


class PathRule(msgspec.Struct, frozen=True, rename={"paths": "nonResourceURLs"}):
    """A rule for paths that are no resources."""

    verbs: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


def excess_of_rules(rules: Iterable[ResourceRule]) -> list[str]:
    """What `rules` allow beyond our need, one phrase each, without repetitions."""
    found: dict[str, None] = {}
    for rule in rules:
        if _everything(rule):
            return ["do everything"]
        for phrase in _rule_excess(rule):
            found[phrase] = None
    return list(found)


def excess_of_paths(rules: Iterable[PathRule]) -> list[str]:
    """The same for paths."""
    found: dict[str, None] = {}
    for rule in rules:
        verbs = [verb for verb in rule.verbs if verb not in {"get", "head"}]
        for path in rule.paths:
            if path == "*" or verbs or not _public(path):
                shown = "any path" if path == "*" else path
                found[f"{_words(rule.verbs)} {shown}"] = None
    return list(found)


def sentence(excess: Sequence[str]) -> str:
    """The phrases as one note for people; empty when there are none."""
    if not excess:
        return ""
    shown = "; ".join(excess[:_MOST])
    more = f"; and {len(excess) - _MOST} more" if len(excess) > _MOST else ""
    return f"The proxy's account there may do more than impersonate: {shown}{more}."


def _everything(rule: ResourceRule) -> bool:
    wild = "*" in rule.verbs and "*" in rule.resources and "*" in rule.api_groups
    return wild and not rule.resource_names


def _rule_excess(rule: ResourceRule) -> Iterable[str]:
    others = tuple(verb for verb in rule.verbs if verb not in {"impersonate", "*"})
    if "impersonate" in rule.verbs or "*" in rule.verbs:
        yield from _impersonation_excess(rule)
    if "*" in rule.verbs:
        others = ("*",)
    resources = [
        _named(group, resource)
        for group in rule.api_groups
        for resource in rule.resources
        if not _EVERYONE.get((group, resource), frozenset()).issuperset(others)
    ]
    if others and resources:
        names = f" named {_words(rule.resource_names)}" if rule.resource_names else ""
        yield f"{_words(others)} {_words(resources)}{names}"


def _impersonation_excess(rule: ResourceRule) -> Iterable[str]:
    groups = set(rule.api_groups)
    core, authentication = bool(groups & {_CORE, "*"}), bool(groups & {_AUTHENTICATION, "*"})
    for resource in rule.resources:
        if core and resource in {"groups", "*"}:
            if not rule.resource_names or "*" in rule.resource_names:
                yield f"impersonate any group, {_MASTERS} included"
            elif _MASTERS in rule.resource_names:
                yield f"impersonate the group {_MASTERS}"
        if core and resource in {"serviceaccounts", "*"}:
            yield "impersonate service accounts"
        if authentication and resource.startswith("userextras") and resource not in _OWN_EXTRAS:
            yield f"impersonate with extra values of {resource.removeprefix('userextras/')}"


def _public(path: str) -> bool:
    stem = path.removesuffix("*").rstrip("/")
    return any(stem == public or stem.startswith(f"{public}/") for public in _PUBLIC_PATHS)


def _named(group: str, resource: str) -> str:
    shown = "every resource" if resource == "*" else resource
    if group == "*":
        return f"{shown} of every group"
    return f"{shown}.{group}" if group else shown


def _words(items: Iterable[str]) -> str:
    return ", ".join("do anything with" if item == "*" else item for item in items)
