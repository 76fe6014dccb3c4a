"""From method and request target to the attributes that kube-apiserver will see.

The rules are those of `pkg/endpoints/request/requestinfo.go` of k8s.io/apiserver, on a path and a
query as Go's net/url reads them. The target is never rebuilt: what is described is forwarded byte
for byte, and what two parsers could read in two ways is refused first (`check_target`).

`describe` is the whole step for one call: check, understand, classify.
"""

from __future__ import annotations

import functools
import re
from typing import Final

import msgspec

from proxy.kube.attributes import InvalidRequest, RequestInfo
from proxy.kube.call_class import CallClass, classify, long_running, may_have_effect
from proxy.kube.go_url import BrokenEscape, first_values, unescape_path
from proxy.kube.selectors import (
    InvalidSelector,
    is_integer,
    is_label_selector,
    is_path_segment,
    required_value,
)
from proxy.kube.targets import check_target

__all__ = [
    "CallClass",
    "Description",
    "InvalidRequest",
    "RefusedTarget",
    "RequestInfo",
    "check_target",
    "classify",
    "describe",
    "long_running",
    "may_have_effect",
    "request_info",
]

_VERBS: Final = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_PATH_VERBS: Final = frozenset({"proxy", "watch"})
_NAMESPACE_SUBRESOURCES: Final = frozenset({"status", "finalize"})
_LIST_OPTIONS: Final = frozenset(
    {"fieldSelector", "labelSelector", "limit", "timeoutSeconds", "watch"}
)
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")

_CACHED_CALLS: Final = 2048
_CACHED_TARGET_BYTES: Final = 512
"""Bounds of the memory that repeated targets may take: about 2 MiB when full."""


_MAX_SELECTORS: Final = 16 * 1024
"""Characters of selectors that are parsed for the name of one object; nobody needs as many."""


class RefusedTarget(ValueError):  # noqa: N818 - reads as what it is, where it is caught
    """A request target that is refused with 400; the text says why."""


class Description(msgspec.Struct, frozen=True, gc=False):
    """What a call is, before anybody asks who makes it."""

    info: RequestInfo
    call_class: CallClass


def describe(method: str, target: bytes, *, upgrade: bool = False) -> Description:
    """Checks, understands and classifies a request target; repeated ones come from a cache.

    Args:
        method: as received, case included.
        target: path and query as received, after the cluster prefix was removed.
        upgrade: whether the request asks for another protocol (`Upgrade`).

    Raises:
        RefusedTarget: parsers could disagree about the target.
        InvalidRequest: kube-apiserver would not understand it either.
    """
    if len(target) > _CACHED_TARGET_BYTES or len(method) > 16:
        return _describe(method, target, upgrade)
    return _describe_cached(method, target, upgrade)


def _describe(method: str, target: bytes, upgrade: bool) -> Description:
    refusal = check_target(target)
    if refusal is not None:
        raise RefusedTarget(refusal)
    info = request_info(method, target.decode("utf-8", "surrogateescape"))
    return Description(info, classify(method, info, upgrade))


_describe_cached = functools.lru_cache(maxsize=_CACHED_CALLS)(_describe)


def request_info(method: str, target: str) -> RequestInfo:
    """The attributes of a request, as kube-apiserver computes them.

    Args:
        method: as received; kube-apiserver does not know `get`, only `GET`.
        target: path and query as received. Bytes become text by UTF-8 with surrogate escapes.

    Raises:
        InvalidRequest: kube-apiserver answers 500 (with `info`), or Go's server 400 (without).
    """
    if _CONTROL.search(target) or not target.startswith("/"):
        raise InvalidRequest("the request target is not a path")
    raw_path, _, query = target.partition("?")
    try:
        path = unescape_path(raw_path)
    except BrokenEscape as error:
        raise InvalidRequest(str(error)) from error
    segments = path.strip("/").split("/")
    if len(segments) < 3 or segments[0] not in {"api", "apis"}:
        return _other(method, path)
    group = ""
    rest = segments[1:]
    if segments[0] == "apis":
        if len(rest) < 3:
            return _other(method, path)
        group, *rest = rest
    version, *parts = rest
    return _resource(method, path, query, (group, version), parts)


def _other(method: str, path: str) -> RequestInfo:
    """A request outside the API groups: health, discovery, metrics."""
    verb = method.lower()
    return RequestInfo(False, verb, "", "", "", "", "", "", (), "", "", _printable(path))


def _resource(
    method: str, path: str, query: str, api: tuple[str, str], parts: list[str]
) -> RequestInfo:
    """Steps 6 to 11 of the wire reference: everything after group and version."""
    if parts[0] in _PATH_VERBS:
        if len(parts) < 2:
            info = _build(method.lower(), api, "", [], ("", "", ""), ("", ""), path)
            raise InvalidRequest(f"nothing follows {parts[0]!r} in the path", info)
        verb = parts[0]
        parts = parts[1:]
    else:
        verb = _VERBS.get(method, "")
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    resource = parts[0]
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 and verb != "proxy" else ""
    selectors = ("", "")
    # One object, a create, or a verb from the path: then the query says nothing about the call.
    if not name and verb in {"get", "delete"}:
        options = first_values(query, _LIST_OPTIONS) if query else {}
        if verb == "get":
            verb, name = _list_or_watch(options)
        elif verb == "delete":
            verb = "deletecollection"
        selectors = (options.get("fieldSelector", ""), options.get("labelSelector", ""))
    return _build(verb, api, namespace, parts, (resource, subresource, name), selectors, path)


def _list_or_watch(options: dict[str, str]) -> tuple[str, str]:
    """Verb and name of a GET that names no object in its path."""
    watch = options.get("watch")
    field_selector = options.get("fieldSelector", "")
    if "metadata.name" not in field_selector and (watch is None or watch.isascii()):
        # There is no name to lose, and both rules for `watch` agree: no need to decode the rest.
        return _watch_after_error(watch), ""
    if len(field_selector) + len(options.get("labelSelector", "")) > _MAX_SELECTORS:
        raise InvalidRequest("the selectors beside metadata.name are too long")
    try:
        name = required_value(field_selector, "metadata.name")
    except InvalidSelector:
        return _watch_after_error(watch), ""
    if not _decodes(options):
        return _watch_after_error(watch), ""
    # Case folding as in Go's EqualFold: a long s equals an s.
    is_watch = watch is not None and watch != "0" and watch.casefold() != "false"
    return "watch" if is_watch else "list", name if is_path_segment(name) else ""


def _decodes(options: dict[str, str]) -> bool:
    """Whether kube-apiserver can decode these list options, field selector aside."""
    for number in ("limit", "timeoutSeconds"):
        if number in options and not is_integer(options[number]):
            return False
    return is_label_selector(options.get("labelSelector", ""))


def _watch_after_error(watch: str | None) -> str:
    """Options that fail to decode are dropped; `watch` is then read again, by other rules."""
    return "list" if watch is None or watch.lower() in {"0", "false"} else "watch"


def _build(
    verb: str,
    api: tuple[str, str],
    namespace: str,
    parts: list[str],
    target: tuple[str, str, str],
    selectors: tuple[str, str],
    path: str,
) -> RequestInfo:
    resource, subresource, name = target
    if path.isascii() and name.isascii() and selectors[0].isascii() and selectors[1].isascii():
        # Group, version and parts are pieces of the path.
        return RequestInfo(
            True, verb, *api, namespace, resource, subresource, name, tuple(parts), *selectors, path
        )
    group, version, namespace, resource, subresource, name, *pair = map(
        _printable, (*api, namespace, resource, subresource, name, *selectors)
    )
    return RequestInfo(
        is_resource=True,
        verb=verb,
        group=group,
        version=version,
        namespace=namespace,
        resource=resource,
        subresource=subresource,
        name=name,
        parts=tuple(map(_printable, parts)),
        field_selector=pair[0],
        label_selector=pair[1],
        path=_printable(path),
    )


def _printable(text: str) -> str:
    """Text that always encodes as UTF-8; stray bytes become `\\xNN`."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
