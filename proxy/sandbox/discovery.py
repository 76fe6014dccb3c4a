"""What the API has: the discovery documents, in the plain and in the aggregated form."""

import hashlib
import json
from functools import cache
from typing import Final

from proxy.sandbox.kinds import KINDS, Kind, groups
from proxy.sandbox.objects import Object

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_VERSION: Final = "v1.37.2"

#: Verbs of subresources; the rest of them are get, patch and update.
_SUBRESOURCE_VERBS: Final = {
    "log": ["get"],
    "exec": ["create", "get"],
    "attach": ["create", "get"],
    "portforward": ["create", "get"],
    "proxy": ["create", "delete", "get", "patch", "update"],
    "eviction": ["create"],
    "binding": ["create"],
    "token": ["create"],
    "finalize": ["update"],
}
#: Subresources whose body is a kind of its own: group, version, kind.
SUBRESOURCE_KINDS: Final = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "binding": ("", "v1", "Binding"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
    "proxy": ("", "v1", "PodProxyOptions"),
}


def version() -> Object:
    """The answer to `/version`."""
    return {
        "major": "1",
        "minor": "37",
        "gitVersion": f"{_VERSION}+sandbox",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "none",
        "platform": "linux/amd64",
    }


@cache
def document(path: str, *, aggregated: bool) -> tuple[bytes, str] | None:
    """The discovery document at `path` as JSON with its ETag, None when there is none."""
    body = _aggregated(path) if aggregated and path in ("api", "apis") else _plain(path)
    if body is None:
        return None
    data = json.dumps(body, separators=(",", ":")).encode()
    return data, f'"{hashlib.sha256(data).hexdigest()[:32].upper()}"'


def _plain(path: str) -> Object | None:
    match path.split("/"):
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            listed = [_group(name) for name in groups() if name]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case ["apis", name] if name in groups():
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}
        case ["api", version]:
            return _resources("", version)
        case ["apis", name, version]:
            return _resources(name, version)
        case _:
            return None


def _group(name: str) -> Object:
    versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in groups()[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _resources(group: str, version: str) -> Object | None:
    kinds = [kind for kind in KINDS if (kind.group, kind.version) == (group, version)]
    if not kinds:
        return None
    listed: list[Object] = []
    for kind in kinds:
        listed.append(_resource(kind))
        listed += [_subresource(kind, name) for name in kind.subresources]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": listed,
    }


def _resource(kind: Kind) -> Object:
    body: Object = {
        "name": kind.plural,
        "singularName": kind.name.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": list(kind.verbs),
    }
    if kind.short:
        body["shortNames"] = list(kind.short)
    if kind.categories:
        body["categories"] = list(kind.categories)
    return body


def _subresource(kind: Kind, name: str) -> Object:
    group, version, reply = SUBRESOURCE_KINDS.get(name, (kind.group, kind.version, kind.name))
    body: Object = {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": reply,
        "verbs": _SUBRESOURCE_VERBS.get(name, ["get", "patch", "update"]),
    }
    if (group, version) != (kind.group, kind.version):
        body |= {"group": group, "version": version}
    return body


def _aggregated(path: str) -> Object:
    wanted = [name for name in groups() if bool(name) == (path == "apis")]
    items: list[Object] = []
    for name in wanted:
        meta: Object = {"name": name, "creationTimestamp": None}
        versions = [_aggregated_version(name, version) for version in groups()[name]]
        items.append({"metadata": meta, "versions": versions})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_version(group: str, version: str) -> Object:
    kinds = [kind for kind in KINDS if (kind.group, kind.version) == (group, version)]
    resources = [_aggregated_resource(kind) for kind in kinds]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_resource(kind: Kind) -> Object:
    body: Object = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.name},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.name.lower(),
        "verbs": list(kind.verbs),
    }
    if kind.short:
        body["shortNames"] = list(kind.short)
    if kind.categories:
        body["categories"] = list(kind.categories)
    if kind.subresources:
        body["subresources"] = [_aggregated_subresource(kind, name) for name in kind.subresources]
    return body


def _aggregated_subresource(kind: Kind, name: str) -> Object:
    group, version, reply = SUBRESOURCE_KINDS.get(name, (kind.group, kind.version, kind.name))
    return {
        "subresource": name,
        "responseKind": {"group": group, "version": version, "kind": reply},
        "verbs": _SUBRESOURCE_VERBS.get(name, ["get", "patch", "update"]),
    }
